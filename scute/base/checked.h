// Arithmetic on counts and offsets from files: throws instead of overflowing.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include "scute/base/error.h"

namespace scute {

/// a·b; Error naming `where` when the product does not fit.
inline int64_t checked_mul(int64_t a, int64_t b, std::string_view where) {
  int64_t product = 0;
  if (__builtin_mul_overflow(a, b, &product)) fail(where, "a size below 2^63", "an overflow");
  return product;
}

/// a+b; Error naming `where` when the sum does not fit.
inline int64_t checked_add(int64_t a, int64_t b, std::string_view where) {
  int64_t sum = 0;
  if (__builtin_add_overflow(a, b, &sum)) fail(where, "a size below 2^63", "an overflow");
  return sum;
}

/// `value` as another integer type; Error naming `where` when it does not fit.
template <class To, class From>
To narrow(From value, std::string_view where) {
  if (!std::in_range<To>(value)) fail(where, "a value in range", std::to_string(value));
  return static_cast<To>(value);
}

/// Error naming `where` for a value below `least`.
inline void require_at_least(std::string_view where, int64_t value, int64_t least) {
  if (value >= least) return;
  fail(where, "at least " + std::to_string(least), std::to_string(value));
}

}  // namespace scute
