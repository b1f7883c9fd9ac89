// How weights that share a scale get it; for rounding to nearest and GPTQ alike.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "scute/quantize/grid.h"
#include "scute/quantize/weight.h"

namespace scute {

/// The weight as f32, outputs × inputs; Error naming `where` unless it is a matrix of finite
/// floats.
Tensor finite_weight(const Tensor& weight, std::string_view where);

/// Zero codes, scales and no channel scales, in the shapes that `format` asks for.
QuantizedWeight empty_weight(int64_t outputs, int64_t inputs, const WeightFormat& format);

/// The scale of finite weights that share it. 8 bits: max |w| / 127. 4 bits: of ±(1, 0.98 … 0.6) ·
/// max |w| / 7 and max |w| · 2/15, each rounded to a normal half-precision number first, the one
/// with the least squared error; of equal ones the first of that list. A negative scale gives the
/// eighth code, −8, to the positive side.
float group_scale(std::span<const float> weights, int bits);

/// Of finite weights, f32; 0 of none.
float largest_magnitude(const Tensor& weights);

/// A 4-bit scale as half precision holds it: 2^−14 … 65504, where a half has all its digits.
float half_scale(double wanted);

/// The codes of one scale, zero point 0.
inline Grid weight_grid(int bits, float scale) {
  return {.spec = {.bits = bits, .symmetric = true}, .scale = scale, .zero = 0};
}

}  // namespace scute
