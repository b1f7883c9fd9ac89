// The causal convolution on 8-bit codes.
#pragma once

#include <cstdint>

#include "scute/tensor/mat_view.h"

namespace scute {

/// y[t, c] = silu(bias[c] + scale[c] · Σ_k weight[k, c] · x[t + k, c]), the sum exact in int32,
/// then one multiply-add, fused where the instruction set has it. x: (taps − 1 + L) × channels,
/// history first; weight: taps × channels; bias may be null; y: L × channels. taps in 1 … 64.
void causal_conv_silu_int8(MatView<const int8_t> x, const int8_t* weight, const float* scale,
                           const float* bias, int64_t taps, MatView<float> y) noexcept;
/// The channels [first, first + count) alone, of the views of all: the same bits.
void causal_conv_silu_int8(MatView<const int8_t> x, const int8_t* weight, const float* scale,
                           const float* bias, int64_t taps, int64_t first, int64_t count,
                           MatView<float> y) noexcept;

}  // namespace scute
