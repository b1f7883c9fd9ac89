// The twin of gemm_int16.h: plain loops in int64, the oracle of its tests.
#pragma once

#include <cstdint>

#include "scute/tensor/mat_view.h"

namespace scute::reference {

/// y[r, o] = Σ_k x[r, k] · w[o, k]. w: outputs × inputs.
void gemm_int16(MatView<const int16_t> x, MatView<const int16_t> w, MatView<int64_t> y);

}  // namespace scute::reference
