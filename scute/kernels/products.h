// Element-wise steps of feed-forwards and of streams with factors.
#pragma once

#include "scute/tensor/mat_view.h"

namespace scute {

/// x ← x · y, element by element.
void multiply_into(MatView<float> x, MatView<const float> y) noexcept;
/// x ← x · factor.
void multiply_by(MatView<float> x, float factor) noexcept;
/// x ← max(x, 0)². NaN stays NaN.
void squared_relu(MatView<float> x) noexcept;

}  // namespace scute
