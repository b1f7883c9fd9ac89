// What an integer network does between its products: steps on 16-bit codes whose results are the
// same on every machine. Where a real factor occurs it is a double, a product is rounded once and
// then half to even; a factor that is a power of two makes the step a shift, so that hardware has
// nothing but integers to do.
//
// saturate_b(i) cuts to −2^(b−1) … 2^(b−1) − 1; round() is half to even. A matrix of windows has
// windows × length rows, window after window.
#pragma once

#include <array>
#include <cstdint>

#include "scute/tensor/mat_view.h"

namespace scute {

/// y = saturate_bits(round(x / scale)), divided in double; NaN becomes 0. scale > 0.
void fixed_quantize(MatView<const float> x, double scale, int bits, MatView<int16_t> y) noexcept;

/// y[r, o] = saturate_bits(round((sums[r, o] + bias[o]) · factor[o])). Biases are whole numbers;
/// |sums| and |sums + bias| < 2^53; factor > 0 and finite, may be tiny or large.
void fixed_requantize(MatView<const int64_t> sums, const double* factor, const double* bias,
                      int bits, MatView<int16_t> y) noexcept;
/// The same for the sums of 8-bit codes.
void fixed_requantize(MatView<const int32_t> sums, const double* factor, const double* bias,
                      int bits, MatView<int16_t> y) noexcept;
/// y = saturate_bits(round(x · factor)), factor finite: codes of one scale as those of another. y
/// may be x.
void fixed_rescale(MatView<const int16_t> x, double factor, int bits, MatView<int16_t> y) noexcept;
/// The codes of 8-bit tensors, −128 … 127, in a byte each; others saturate.
void fixed_narrow(MatView<const int16_t> x, MatView<int8_t> y) noexcept;

/// x = saturate_16(x + y).
void fixed_add(MatView<int16_t> x, MatView<const int16_t> y) noexcept;

/// The root mean square norm of each row in whole numbers:
///   root = ⌊√((Σ x² + epsilon) · 2^(2·kRootBits))⌋,   at least 1
///   y[r, c] = saturate_bits(round(x[r, c] · gain[c] / root))
/// |gain| ≤ 2^36 (so that x·gain is exact in double, and its quotient rounds as the fraction would:
/// root < 2^28). Up to 4096 columns; 0 ≤ epsilon ≤ 2^40. y may be x.
struct FixedNorm {
  static constexpr int kRootBits = 6;
  const int64_t* gain;
  int64_t epsilon;
};
void fixed_rms_norm(MatView<const int16_t> x, const FixedNorm& norm, int bits,
                    MatView<int16_t> y) noexcept;

/// A depth-wise convolution over the rows of each window (windows.h):
///   y[w, l, c] = saturate_16(round((bias[c] + Σ_k weight[k, c] · x[w, l + k − before, c]) ·
///   factor[c]))
struct FixedConv {
  const int16_t* weight;  ///< taps × channels
  const double* factor;   ///< channels
  const double* bias;     ///< channels; whole numbers, |bias| < 2^52
  int64_t taps, before;   ///< 1 ≤ taps ≤ 64, 0 ≤ before < taps
};
/// y must not be x. length divides the rows.
void fixed_window_conv(const FixedConv& conv, MatView<const int16_t> x, int64_t length,
                       MatView<int16_t> y) noexcept;

/// σ from −8 to 8 in steps of 1/256 as unsigned Q0.16: entry i is round(65536·σ((i − 2048)/256)).
using SigmoidTable = std::array<uint16_t, 4097>;
const SigmoidTable& sigmoid_table();

/// σ(code · 2^−fraction) in Q0.16; fraction from 0 to 14. Beyond ±8 the table's ends; between its
/// entries (fraction above 8) on the line from one to the next, t + (((t' − t)·rest + half) >>
/// (fraction − 8)), half = 2^(fraction − 9).
uint16_t fixed_sigmoid(int16_t code, int fraction) noexcept;

/// y = saturate_16(round(x · σ(x) · factor)): x·σ is the product of the codes in whole numbers.
/// x has `fraction` fractional bits. y may be x.
void fixed_silu(MatView<const int16_t> x, int fraction, double factor, MatView<int16_t> y) noexcept;

/// A leaky mean over the rows of each window whose leak λ = σ(logit) is data:
///   s[c] ← (λ·s[c] + (65536 − λ)·x[w, l, c] + round to even) >> 16, from s = 0;  y[w, l, c] = s[c]
/// The sum is within −2^31 … 2^31 − 2^16, so that 32 bits hold it with what rounds it; s never
/// leaves the range of x and 0. y may be x or logit.
void fixed_window_mean_scan(MatView<const int16_t> x, MatView<const int16_t> logit, int fraction,
                            int64_t length, MatView<int16_t> y) noexcept;

/// y = saturate_bits(round(x · gate · factor)). y may be x.
void fixed_gate(MatView<const int16_t> x, MatView<const int16_t> gate, double factor, int bits,
                MatView<int16_t> y) noexcept;

}  // namespace scute
