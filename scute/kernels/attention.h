// Steps of a vision transformer's block.
#pragma once

#include <cstdint>

#include "scute/tensor/mat_view.h"

namespace scute {

/// y = (x − mean) · (variance + eps)^−½ · weight + bias over each row, variance biased, both
/// moments and x − mean in double. y may be x.
void layer_norm(MatView<const float> x, const float* weight, const float* bias, float eps,
                MatView<float> y) noexcept;
/// x ← x · Φ(x), by the error function, not its tanh approximation. Relative error at most
/// 4.5 · 2^−23 for x > 0 and (4.5 + 1.25·x²) · 2^−23 for x < 0, where from about −13 on the result
/// is −0. NaN stays NaN, +∞ is itself, −∞ gives NaN (−∞·0, as in PyTorch).
void gelu(MatView<float> x) noexcept;
/// x += bias, for each row.
void add_row(MatView<float> x, const float* bias) noexcept;
/// x += y · factors, column by column; factors may be null (ones). The product is rounded first.
void add_scaled(MatView<float> x, MatView<const float> y, const float* factors) noexcept;

/// Floats of scratch memory that attention() needs for this many keys of this width; the same on
/// every machine: about (2 · width + 24) · keys.
int64_t attention_scratch(int64_t keys, int64_t head_width) noexcept;
/// One head: y = softmax(q·kᵀ · scale) · v, each row's softmax over all keys, no mask. q: queries ×
/// head width, k and v: keys × head width, y: queries × head width (any strides). y may be q.
/// scratch may have any alignment. keys ≥ 1.
///
/// In f32, sums over the width and over the keys in order; the softmax subtracts the row's largest
/// score, takes weights below 2^−126 as 0, and divides by the sum of the weights (in double) at the
/// end. The bits of a row of y depend on that row of q and on k and v alone. NaN in a row of q
/// makes that row of y NaN; so does a score of +∞.
void attention(MatView<const float> q, MatView<const float> k, MatView<const float> v, float scale,
               float* scratch, MatView<float> y) noexcept;

}  // namespace scute
