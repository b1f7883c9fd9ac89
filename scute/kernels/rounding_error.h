// How much rounding to a scale costs: what the search for a group's scale compares.
#pragma once

#include <cstdint>
#include <span>

namespace scute {

/// Σ (w − code · scale)², code = w / scale to the nearest of −8 … 7, halves to even; differences in
/// f32, squares and sums in double. The bits of eight sums side by side that are added in their
/// order, then the rest, on every instruction set. Weights finite, scale normal or negative so.
double squared_rounding_error(std::span<const float> weights, float scale) noexcept;

}  // namespace scute
