#include "scute/base/error.h"

#include <fmt/core.h>

namespace scute {

void fail(std::string_view where, std::string_view expected, std::string_view found) {
  throw Error(fmt::format("{}: expected {}, found {}", where, expected, found));
}

}  // namespace scute
