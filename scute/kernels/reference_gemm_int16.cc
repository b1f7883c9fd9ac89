#include "scute/kernels/reference_gemm_int16.h"

namespace scute::reference {

void gemm_int16(MatView<const int16_t> x, MatView<const int16_t> w, MatView<int64_t> y) {
  for (int64_t r = 0; r < x.rows; ++r) {
    for (int64_t o = 0; o < w.rows; ++o) {
      int64_t sum = 0;
      for (int64_t k = 0; k < x.cols; ++k) sum += int64_t{x.row(r)[k]} * w.row(o)[k];
      y.row(r)[o] = sum;
    }
  }
}

}  // namespace scute::reference
