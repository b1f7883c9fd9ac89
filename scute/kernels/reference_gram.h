// The twin of gram.h: plain loops in double, the oracle of its tests.
#pragma once

#include <vector>

#include "scute/tensor/mat_view.h"

namespace scute {

/// n × n, of x: rows × n. Both triangles.
struct ReferenceGram {
  std::vector<double> values;      ///< Σ_t x[t, i] · x[t, j]
  std::vector<double> magnitudes;  ///< Σ_t |x[t, i] · x[t, j]|: what a sum's error is relative to
};
ReferenceGram reference_gram(MatView<const float> x);

}  // namespace scute
