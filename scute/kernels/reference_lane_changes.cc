#include "scute/kernels/reference_lane_changes.h"

namespace scute {

void reference_lane_changes(MatView<const double> factors, MatView<const double> changes,
                            MatView<double> sums, const double* scales, MatView<double> scaled) {
  for (int64_t r = 0; r < sums.rows; ++r) {
    for (int64_t c = 0; c < sums.cols; ++c) {
      double sum = 0;
      for (int64_t k = 0; k < factors.cols; ++k) {
        const double product = factors.row(r)[k] * changes.row(k)[c];
        sum += product;
      }
      sums.row(r)[c] += sum;
      if (scales == nullptr) continue;
      const double product = sum * scales[c];
      scaled.row(r)[c] += product;
    }
  }
}

void reference_scaled_lanes(MatView<const double> from, const double* scales, MatView<double> to) {
  for (int64_t r = 0; r < to.rows; ++r) {
    for (int64_t c = 0; c < to.cols; ++c) {
      const double product = from.row(r)[c] * scales[c];
      to.row(r)[c] += product;
    }
  }
}

}  // namespace scute
