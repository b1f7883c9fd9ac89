// Steps of a model that sees many short windows at once. A matrix of windows has windows × length
// rows, window after window; nothing crosses from one window into the next, so that a window's
// result depends on that window alone.
#pragma once

#include <cstdint>

#include "scute/tensor/mat_view.h"

namespace scute {

/// y = x·σ(x). y may be x.
void silu(MatView<const float> x, MatView<float> y) noexcept;

/// A depth-wise convolution over the rows of each window (cross-correlation, zeros around the
/// window), then SiLU:
///   y[w, l, c] = silu(bias[c] + Σ_k weight[k, c] · x[w, l + k − before, c])
/// before = taps − 1 is the causal one, (taps − 1)/2 the centred one.
struct WindowConv {
  const float* weight;   ///< taps × channels
  const float* bias;     ///< channels
  int64_t taps, before;  ///< taps ≥ 1, 0 ≤ before < taps
};
/// y must not be x. length divides the rows.
void window_conv_silu(const WindowConv& conv, MatView<const float> x, int64_t length,
                      MatView<float> y) noexcept;

/// A leaky mean over the rows of each window, whose leak is data:
///   λ[w, l, c] = σ(logit[w, l, c])
///   s[c] ← λ·s[c] + (1 − λ)·x[w, l, c], from s = 0 at the window's first row;  y[w, l, c] = s[c]
/// λ is within 2^−22 of σ, so each step adds at most that times |s| + |x|. y may be x or logit.
void window_mean_scan(MatView<const float> x, MatView<const float> logit, int64_t length,
                      MatView<float> y) noexcept;

}  // namespace scute
