// Products in double whose every bit is fixed: what rounding with corrections is made of.
#pragma once

#include <cstdint>

#include "scute/tensor/mat_view.h"

namespace scute {

/// sums[r, l] += Σ_k factors[r, k] · values[k, l], where each product and each sum is rounded and
/// the k are added in their order: the bits of plain loops on every instruction set, wherever rows,
/// columns or the k are cut. factors: rows × n, values: n × columns, sums: rows × columns, which
/// may not overlap; columns: a multiple of 16.
void add_lane_products(MatView<const double> factors, MatView<const double> values,
                       MatView<double> sums) noexcept;

}  // namespace scute
