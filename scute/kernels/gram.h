// xᵀ·x, summed over many rows.
#pragma once

#include <cstdint>

#include "scute/tensor/mat_view.h"

namespace scute {

/// sums[i, j] += Σ_t x[t, i] · x[t, j] for j ≥ i (the upper triangle; the lower is not touched).
/// Products and sums of up to 128 rows in f32, these tiles added in double in the order of the
/// rows; so calls cut at multiples of 128 rows give the same bits as one. x: rows × n, sums: n × n.
void add_gram(MatView<const float> x, MatView<double> sums) noexcept;

}  // namespace scute
