#include "scute/decide/buckets.h"

#include <algorithm>

namespace scute {

bool is_bucket(std::string_view name) {
  return std::ranges::find(kBuckets, name) != kBuckets.end();
}

std::vector<std::string> bucket_names() { return {kBuckets.begin(), kBuckets.end()}; }

}  // namespace scute
