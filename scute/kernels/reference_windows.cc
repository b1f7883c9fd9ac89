#include "scute/kernels/reference_windows.h"

#include <cmath>

#include "scute/kernels/reference.h"

namespace scute::reference {

void silu(MatView<const float> x, MatView<double> y) {
  for (int64_t r = 0; r < x.rows; ++r) {
    for (int64_t c = 0; c < x.cols; ++c) y.row(r)[c] = silu(double{x.row(r)[c]});
  }
}

void window_conv_silu(const WindowConv& conv, MatView<const float> x, int64_t length,
                      MatView<double> y) {
  for (int64_t r = 0; r < x.rows; ++r) {
    const int64_t first = r / length * length, l = r - first;
    for (int64_t c = 0; c < x.cols; ++c) {
      double sum = conv.bias[c];
      for (int64_t k = 0; k < conv.taps; ++k) {
        const int64_t from = l + k - conv.before;
        if (from < 0 || from >= length) continue;
        sum += double{conv.weight[k * x.cols + c]} * double{x.row(first + from)[c]};
      }
      y.row(r)[c] = silu(sum);
    }
  }
}

void window_mean_scan(MatView<const float> x, MatView<const float> logit, int64_t length,
                      MatView<double> y) {
  for (int64_t r = 0; r < x.rows; ++r) {
    for (int64_t c = 0; c < x.cols; ++c) {
      const double leak = 1 / (1 + std::exp(-double{logit.row(r)[c]}));
      const double before = r % length == 0 ? 0 : y.row(r - 1)[c];
      y.row(r)[c] = leak * before + (1 - leak) * double{x.row(r)[c]};
    }
  }
}

}  // namespace scute::reference
