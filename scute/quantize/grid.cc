#include "scute/quantize/grid.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "scute/base/error.h"

namespace scute {
namespace {

/// Nearest whole number, halves to even, for |x| < 2^22.
float whole(float x) { return (x + 0x1.8p23f) - 0x1.8p23f; }

void check(double lo, double hi, GridSpec spec) {
  constexpr double kLargest = std::numeric_limits<float>::max();
  if (spec.bits < 2 || spec.bits > 16) fail("grid", "2 … 16 bits", fmt::to_string(spec.bits));
  if (!(std::abs(lo) <= kLargest && std::abs(hi) <= kLargest)) {
    fail("grid", "finite lo and hi", fmt::format("{} … {}", lo, hi));
  }
  if (lo > hi) fail("grid", "lo at most hi", fmt::format("{} … {}", lo, hi));
}

}  // namespace

int32_t Grid::code(float x) const noexcept {
  if (std::isnan(x)) return zero;
  const auto first = static_cast<float>(spec.lowest() - zero);
  const auto last = static_cast<float>(spec.highest() - zero);
  return static_cast<int32_t>(whole(std::clamp(x / scale, first, last))) + zero;
}

Grid make_grid(double lo, double hi, GridSpec spec) {
  check(lo, hi, spec);
  lo = std::min(lo, 0.0);
  hi = std::max(hi, 0.0);
  const double steps = spec.symmetric ? spec.highest() : spec.highest() - spec.lowest();
  const double width = spec.symmetric ? std::max(-lo, hi) : hi - lo;
  Grid grid{spec, 0, 0};
  if (width == 0) {
    grid.scale = static_cast<float>(1e-6 / spec.highest());
  } else {
    // Below the smallest normal float neither 1/scale nor vector units that flush to zero work.
    grid.scale = std::max(static_cast<float>(width / steps), std::numeric_limits<float>::min());
  }
  if (!spec.symmetric) {
    const double zero = spec.lowest() - std::nearbyint(lo / static_cast<double>(grid.scale));
    grid.zero = static_cast<int32_t>(std::clamp<double>(zero, spec.lowest(), spec.highest()));
  }
  return grid;
}

}  // namespace scute
