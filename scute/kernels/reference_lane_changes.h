// The twins of lane_changes.h, which gives these very bits.
#pragma once

#include "scute/tensor/mat_view.h"

namespace scute {

void reference_lane_changes(MatView<const double> factors, MatView<const double> changes,
                            MatView<double> sums, const double* scales, MatView<double> scaled);
void reference_scaled_lanes(MatView<const double> from, const double* scales, MatView<double> to);

}  // namespace scute
