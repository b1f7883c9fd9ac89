#include "scute/evaluate/kept_items.h"

#include <limits>

namespace scute {

void KeptItems::know(std::string task, int64_t item, Json values) {
  known_.insert_or_assign({std::move(task), item}, std::move(values));
}

const Json* KeptItems::find(const std::string& task, int64_t item) const {
  const auto found = known_.find({task, item});
  return found == known_.end() ? nullptr : &found->second;
}

double number_of(const Json& values, const char* key) {
  const Json& value = values.at(key, "a kept item");
  return value.is_null() ? std::numeric_limits<double>::quiet_NaN() : value.as_double(key);
}

}  // namespace scute
