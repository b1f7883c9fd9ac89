#include "scute/kernels/reference_gemm.h"

#include <cmath>

namespace scute {

ReferenceProduct reference_gemm(MatView<const float> x, MatView<const float> w) {
  ReferenceProduct product;
  for (int64_t r = 0; r < x.rows; ++r) {
    for (int64_t o = 0; o < w.rows; ++o) {
      double sum = 0, magnitude = 0;
      for (int64_t k = 0; k < x.cols; ++k) {
        const double term = double{x.row(r)[k]} * double{w.row(o)[k]};
        sum += term;
        magnitude += std::abs(term);
      }
      product.values.push_back(sum);
      product.magnitudes.push_back(magnitude);
    }
  }
  return product;
}

}  // namespace scute
