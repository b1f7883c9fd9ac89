// The integer regressor as hardware sees it: codes, shifts and whole numbers, no real factor left.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "scute/models/regressor/integer_regressor.h"

namespace scute {

/// Qm.n: value = code · 2^−fraction, codes of `bits` bits. m = bits − 1 − fraction may be negative.
struct ShiftFormat {
  int bits = 16;
  int fraction = 0;
  bool operator==(const ShiftFormat&) const = default;
};
/// Error naming `name` when the scale is no power of two.
ShiftFormat shift_format(const Grid& grid, std::string_view name);

/// The s of a factor 2^−s, which shifts to the right where it is positive; Error naming `name`.
int shift_of(double factor, std::string_view name);

/// y[o] = saturate((Σ_k weight[o, k]·x[k] + bias[o]·2^bias_shift) · 2^−shift[part of o]).
struct ShiftProduct {
  std::string name;           ///< of its site without ":input"
  Tensor weight;              ///< outputs × inputs, i16
  std::vector<int16_t> bias;  ///< outputs; empty for none
  ShiftFormat input, weights, biases;
  std::vector<ShiftFormat> outputs;  ///< of equal parts of the outputs, side by side
  std::vector<int> shifts;           ///< of the same parts
  int bias_shift = 0;
  int sum_bits = 0;  ///< of a two's complement accumulator that no input overflows
};

/// fixed_rms_norm; gains are below 2^36.
struct ShiftNorm {
  std::string name;
  std::span<const int64_t> gain;
  int64_t epsilon = 0;
  ShiftFormat input, output;
};

/// Depth-wise: y[l, c] = saturate((Σ_k weight[k, c]·x[l + k − before, c] + bias[c]·2^bias_shift) ·
/// 2^−shift), rows outside the window 0.
struct ShiftConvolution {
  std::string name;
  std::span<const int16_t> weight;  ///< taps × channels
  std::vector<int16_t> bias;
  ShiftFormat input, weights, biases, output;
  int64_t taps = 0;  ///< 0: there is none
  int64_t before = 0;
  int shift = 0, bias_shift = 0;
};

/// saturate_16((x · σ(x)) · 2^−shift), σ in Q0.16.
struct ShiftSilu {
  ShiftFormat input, output;
  int shift = 0;
};

struct ShiftBlock {
  std::string name;  ///< "blocks.0."
  ShiftNorm norm;
  ShiftProduct in_proj;  ///< parts u and z; without a gate z is not used
  ShiftConvolution convolution;
  ShiftSilu u, z;
  ShiftProduct dt_proj, out_proj;
  int dt_shift = 0;   ///< u to the input of dt_proj
  int out_shift = 0;  ///< the scan's output, times the gate's if there is one, to out_proj
};

/// A slim regressor. Views are of the IntegerRegressor it was made from.
struct ShiftRegressor {
  RegressorConfig config;
  ShiftProduct proj, patch_embedding;
  std::span<const int16_t> position_table;  ///< L × D; empty without
  ShiftFormat residual;
  std::vector<ShiftBlock> blocks;
  ShiftNorm norm_f;
  int pool_shift = 0;  ///< of pooled models: the maximum, or the sum, to output_layer
  ShiftProduct output_layer, head;
  ShiftFormat position;  ///< metres
};

/// Whether every scale is a power of two, one for all outputs of a layer: what as_shifts needs.
bool all_powers_of_two(const RegressorFormats& formats);

/// Error naming what hardware without multipliers for real factors cannot do: an origin block, a
/// scale that is no power of two, scales that differ between the outputs of one layer.
ShiftRegressor as_shifts(const IntegerRegressor& model);

/// The format of what a site of the model shows.
ShiftFormat format_of_site(const ShiftRegressor& model, std::string_view site);

}  // namespace scute
