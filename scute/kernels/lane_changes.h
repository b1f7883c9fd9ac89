// Products of few changes with a matrix, in double and with every bit fixed: what descent on codes
// is made of.
#pragma once

#include <cstdint>
#include <span>

#include "scute/tensor/mat_view.h"

namespace scute {

/// Rows of changes in one call.
inline constexpr int64_t kMostChanges = 64;

/// t[r, l] = Σ_k factors[r, k] · changes[k, l] over the k with changes[k, l] other than 0, as
/// add_lane_products() adds them from zero; then sums[r, l] += t[r, l]. The bits of plain loops on
/// every instruction set, wherever rows or columns are cut; work for the changes, not for the
/// zeroes beside them, as long as 8 columns side by side are zero together.
/// factors: rows × n, finite; changes: n × columns; sums: rows × columns, no overlap; columns: a
/// multiple of 16, n ≤ kMostChanges.
void add_lane_changes(MatView<const double> factors, MatView<const double> changes,
                      MatView<double> sums) noexcept;
/// The same, and scaled[r, l] += t[r, l] · scales[l].
void add_lane_changes(MatView<const double> factors, MatView<const double> changes,
                      MatView<double> sums, const double* scales, MatView<double> scaled) noexcept;

/// to[r, l] += from[r, l] · scales[l], product and sum rounded one by one. columns: a multiple of
/// 16.
void add_scaled_lanes(MatView<const double> from, const double* scales,
                      MatView<double> to) noexcept;

}  // namespace scute
