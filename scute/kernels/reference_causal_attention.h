// The twins of causal_attention.h: plain loops in double, the oracle of its tests.
#pragma once

#include <cstdint>

#include "scute/kernels/causal_attention.h"
#include "scute/tensor/mat_view.h"

namespace scute::reference {

/// Row r stands at position + r.
void rope(MatView<const float> x, int64_t head_width, int64_t rotated, double theta,
          int64_t position, MatView<double> y);
/// x as it is kept.
void cached(CacheForm form, MatView<const float> x, MatView<float> y);
/// One query head: row r of q sees the first position + r + 1 rows of k and v.
void causal_attention(MatView<const float> q, MatView<const float> k, MatView<const float> v,
                      int64_t position, float scale, MatView<double> y);

}  // namespace scute::reference
