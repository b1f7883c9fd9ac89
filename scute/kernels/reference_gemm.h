// The twin of gemm.h: plain loops in double, the oracle of its tests.
#pragma once

#include <cstdint>
#include <vector>

#include "scute/tensor/mat_view.h"

namespace scute {

/// rows × outputs.
struct ReferenceProduct {
  std::vector<double> values;      ///< Σ_k x[r, k] · w[o, k]
  std::vector<double> magnitudes;  ///< Σ_k |x[r, k] · w[o, k]|: what a sum's error is relative to
};
/// x: rows × inputs, w: outputs × inputs.
ReferenceProduct reference_gemm(MatView<const float> x, MatView<const float> w);

}  // namespace scute
