#include "scute/models/language/mixer.h"

namespace scute {

void scatter_columns(MatView<const float> x, std::span<const int32_t> order, MatView<float> y) {
  for (int64_t t = 0; t < x.rows; ++t) {
    for (int64_t c = 0; c < x.cols; ++c) y.row(t)[order[static_cast<size_t>(c)]] = x.row(t)[c];
  }
}

}  // namespace scute
