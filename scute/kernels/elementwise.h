// Row-wise and element-wise steps of the Mamba block.
#pragma once

#include <cstdint>

#include "scute/tensor/mat_view.h"

namespace scute {

/// y = x · (mean(x²) + eps)^−½ · weight, over groups of `group` columns (group = cols: the whole
/// row). weight may be null (ones). y may be x.
void rms_norm(MatView<const float> x, const float* weight, int64_t group, float eps,
              MatView<float> y) noexcept;
/// y = x · z·σ(z). y may be x.
void gate_silu(MatView<const float> x, MatView<const float> z, MatView<float> y) noexcept;
/// x += y.
void add_into(MatView<float> x, MatView<const float> y) noexcept;
/// x[r, c] ← x[r, c] · factors[c].
void multiply_columns(MatView<float> x, const float* factors) noexcept;
/// x ← the nearest value in lo..hi, which may be infinite; lo ≤ hi. NaN stays NaN.
void clamp(MatView<float> x, float lo, float hi) noexcept;
/// y = x, whatever the strides.
void copy_rows(MatView<const float> x, MatView<float> y) noexcept;

/// Causal depth-wise convolution over the rows, then SiLU (Mamba-1 §3 / Mamba-2 step 4):
/// y[t, c] = silu(bias[c] + Σ_k weight[k, c] · x[t − (taps−1) + k, c]). Rows before the first come
/// from `cache` (taps−1 rows, oldest first), which is left holding the last taps−1 rows (of itself
/// and x, when x has fewer). taps ≥ 1. weight is taps × channels. bias may be null. y must not be
/// x.
void causal_conv_silu(MatView<const float> x, const float* weight, const float* bias, int64_t taps,
                      MatView<float> cache, MatView<float> y) noexcept;
/// The channels [first, first + count) alone, of the views of all: the same bits.
void causal_conv_silu(MatView<const float> x, const float* weight, const float* bias, int64_t taps,
                      int64_t first, int64_t count, MatView<float> cache,
                      MatView<float> y) noexcept;
/// The same without SiLU: y[t, c] is the sum.
void causal_conv(MatView<const float> x, const float* weight, const float* bias, int64_t taps,
                 int64_t first, int64_t count, MatView<float> cache, MatView<float> y) noexcept;

/// log Σ exp(x) of a row, in double.
double log_sum_exp(const float* x, int64_t n) noexcept;
/// Index of the largest element, the first of equals; NaN never wins. n ≥ 1.
int64_t argmax(const float* x, int64_t n) noexcept;

}  // namespace scute
