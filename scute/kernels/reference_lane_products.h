// The twin of lane_products.h, which gives these very bits.
#pragma once

#include "scute/tensor/mat_view.h"

namespace scute {

void reference_lane_products(MatView<const double> factors, MatView<const double> values,
                             MatView<double> sums);

}  // namespace scute
