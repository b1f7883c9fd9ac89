// xᵀ·x, summed over many rows.
#pragma once

#include <cstdint>

#include "scute/tensor/mat_view.h"
#include "scute/tensor/triangle.h"

namespace scute {

/// sums[i, j] += Σ_t x[t, i] · x[t, j] for j ≥ i.
/// Products and sums of up to 128 rows in f32, these tiles added in double in the order of the
/// rows; so calls cut at multiples of 128 rows give the same bits as one. x: rows × n, sums: of n
/// rows.
void add_gram(MatView<const float> x, TriangleView<double> sums) noexcept;

}  // namespace scute
