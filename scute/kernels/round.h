// Between floats and 8-bit codes: code = saturate(round half to even(x / scale)), value = code ·
// scale.
#pragma once

#include <cstdint>

#include "scute/tensor/mat_view.h"

namespace scute {

// Everywhere below `scales` is 1 × 1, 1 × columns, rows × 1 or rows × columns of x, each scale a
// positive normal float, and stands for a scale per element. x / scale is one float division; codes
// are −128 … 127; NaN becomes code 0. The same as Grid::code of an 8-bit symmetric grid.

void to_codes(MatView<const float> x, MatView<const float> scales, MatView<int8_t> codes) noexcept;
/// The codes as floats.
void to_float_codes(MatView<const float> x, MatView<const float> scales,
                    MatView<float> codes) noexcept;
/// x ← code · scale.
void round_to_grid(MatView<float> x, MatView<const float> scales) noexcept;
/// x = code · scale.
void from_codes(MatView<const int8_t> codes, MatView<const float> scales,
                MatView<float> x) noexcept;

/// code = saturate(⌊x / scale + u⌋), u uniform in [0, 1) in steps of 2^−24: right on average, where
/// rounding to nearest loses every change below half a step. u is a function of (key, r·cols + c)
/// alone, the same on every machine: a 32-bit mix of the element's number (modulo 2^32) keyed by
/// both halves of a hash of `key`, so that keys may be counted up. The floor is of the exact sum.
/// NaN becomes code 0. Rows that are part of a larger matrix count from `first_row`, so that its
/// bits do not depend on where it is cut.
void to_codes_stochastic(MatView<const float> x, MatView<const float> scales, uint64_t key,
                         MatView<int8_t> codes, int64_t first_row = 0) noexcept;

}  // namespace scute
