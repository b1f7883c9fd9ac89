#include "scute/kernels/reference_lane_products.h"

namespace scute {

void reference_lane_products(MatView<const double> factors, MatView<const double> values,
                             MatView<double> sums) {
  for (int64_t r = 0; r < sums.rows; ++r) {
    for (int64_t c = 0; c < sums.cols; ++c) {
      for (int64_t k = 0; k < factors.cols; ++k) {
        const double product = factors.row(r)[k] * values.row(k)[c];
        sums.row(r)[c] += product;
      }
    }
  }
}

}  // namespace scute
