// The twins of round.h and conv_int8.h: plain loops, the oracles of their tests.
#pragma once

#include <cstdint>

#include "scute/tensor/mat_view.h"

namespace scute::reference {

/// The scale of one element; scales as in round.h.
float scale_at(MatView<const float> scales, int64_t r, int64_t c);
/// As Grid::code of an 8-bit symmetric grid.
int8_t code(float x, float scale);
/// 24 random bits: u · 2^24 of element number `i`.
uint32_t uniform_bits(uint64_t key, uint32_t i);
int8_t stochastic_code(float x, float scale, uint32_t uniform);

/// y in double from integer sums; arguments as for causal_conv_silu_int8().
void causal_conv_silu_int8(MatView<const int8_t> x, const int8_t* weight, const float* scale,
                           const float* bias, int64_t taps, MatView<double> y);
/// Σ_k weight[k, c] · x[t + k, c].
int64_t convolution_sum(MatView<const int8_t> x, const int8_t* weight, int64_t taps, int64_t t,
                        int64_t c);

}  // namespace scute::reference
