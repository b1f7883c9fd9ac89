// What an order of rows or channels must be.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

namespace scute {

/// Error naming `where` unless `order` holds each of 0 … n − 1 once.
void check_order(std::span<const int32_t> order, int64_t n, std::string_view where);

}  // namespace scute
