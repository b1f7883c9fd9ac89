// The twin of fixed_point.h: plain loops in int64 and, where a factor is real, double. The oracle
// of its tests, which want equality.
#pragma once

#include <cstdint>

#include "scute/kernels/fixed_point.h"
#include "scute/tensor/mat_view.h"

namespace scute::reference {

/// numerator / denominator, half to even, in whole numbers. denominator > 0.
int64_t rounded_quotient(int64_t numerator, int64_t denominator);
/// value cut to the codes of `bits` bits.
int64_t saturate(int64_t value, int bits);

void fixed_quantize(MatView<const float> x, double scale, int bits, MatView<int16_t> y);
void fixed_requantize(MatView<const int64_t> sums, const double* factor, const double* bias,
                      int bits, MatView<int16_t> y);
void fixed_rescale(MatView<const int16_t> x, double factor, int bits, MatView<int16_t> y);
void fixed_narrow(MatView<const int16_t> x, MatView<int8_t> y);
void fixed_add(MatView<int16_t> x, MatView<const int16_t> y);
/// The fraction itself is rounded, in whole numbers.
void fixed_rms_norm(MatView<const int16_t> x, const FixedNorm& norm, int bits, MatView<int16_t> y);
void fixed_window_conv(const FixedConv& conv, MatView<const int16_t> x, int64_t length,
                       MatView<int16_t> y);
uint16_t fixed_sigmoid(int16_t code, int fraction);
void fixed_silu(MatView<const int16_t> x, int fraction, double factor, MatView<int16_t> y);
void fixed_window_mean_scan(MatView<const int16_t> x, MatView<const int16_t> logit, int fraction,
                            int64_t length, MatView<int16_t> y);
void fixed_gate(MatView<const int16_t> x, MatView<const int16_t> gate, double factor, int bits,
                MatView<int16_t> y);

}  // namespace scute::reference
