#include "scute/quantize/order.h"

#include <fmt/format.h>

#include <vector>

#include "scute/base/error.h"

namespace scute {

void check_order(std::span<const int32_t> order, int64_t n, std::string_view where) {
  if (std::ssize(order) != n) {
    fail(where, fmt::format("an order of {} places", n), fmt::to_string(order.size()));
  }
  std::vector<char> seen(order.size(), 0);
  for (const int32_t i : order) {
    const bool known = i >= 0 && i < n;
    if (!known || seen[static_cast<size_t>(i)] != 0) {
      fail(where, fmt::format("each of 0 … {} once in the order", n - 1),
           fmt::format("{} {}", i, known ? "twice" : "outside"));
    }
    seen[static_cast<size_t>(i)] = 1;
  }
}

}  // namespace scute
