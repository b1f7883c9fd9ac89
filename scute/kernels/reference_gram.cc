#include "scute/kernels/reference_gram.h"

#include <cmath>
#include <cstddef>

namespace scute {

ReferenceGram reference_gram(MatView<const float> x) {
  ReferenceGram gram;
  for (int64_t i = 0; i < x.cols; ++i) {
    for (int64_t j = 0; j < x.cols; ++j) {
      double sum = 0, magnitude = 0;
      for (int64_t t = 0; t < x.rows; ++t) {
        const double product = static_cast<double>(x.row(t)[i]) * static_cast<double>(x.row(t)[j]);
        sum += product;
        magnitude += std::abs(product);
      }
      gram.values.push_back(sum);
      gram.magnitudes.push_back(magnitude);
    }
  }
  return gram;
}

}  // namespace scute
