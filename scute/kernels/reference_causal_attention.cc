#include "scute/kernels/reference_causal_attention.h"

#include <algorithm>
#include <cmath>

#include "scute/kernels/reference_attention.h"
#include "scute/tensor/dtype.h"

namespace scute::reference {

void rope(MatView<const float> x, int64_t head_width, int64_t rotated, double theta,
          int64_t position, MatView<double> y) {
  for (int64_t r = 0; r < x.rows; ++r) {
    for (int64_t c = 0; c < x.cols; ++c) {
      const int64_t in_head = c % head_width, pairs = rotated / 2, i = in_head % (pairs + !pairs);
      const double here = static_cast<double>(x.row(r)[c]);
      if (in_head >= rotated) {
        y.row(r)[c] = here;
        continue;
      }
      const double exponent = -2.0 * static_cast<double>(i) / static_cast<double>(rotated);
      const double angle = static_cast<double>(position + r) * std::pow(theta, exponent);
      const bool left = in_head < pairs;
      const double other = static_cast<double>(x.row(r)[left ? c + pairs : c - pairs]);
      y.row(r)[c] = here * std::cos(angle) + (left ? -other : other) * std::sin(angle);
    }
  }
}

void cached(CacheForm form, MatView<const float> x, MatView<float> y) {
  for (int64_t r = 0; r < x.rows; ++r) {
    float most = 0;
    for (int64_t c = 0; c < x.cols; ++c) most = std::max(most, std::abs(x.row(r)[c]));
    const float scale = most / 127;
    for (int64_t c = 0; c < x.cols; ++c) {
      const float value = x.row(r)[c];
      y.row(r)[c] = form == CacheForm::f32    ? value
                    : form == CacheForm::bf16 ? to_float(to_bf16(value))
                    : scale > 0               ? std::nearbyint(value / scale) * scale
                                              : 0.0f;
    }
  }
}

void causal_attention(MatView<const float> q, MatView<const float> k, MatView<const float> v,
                      int64_t position, float scale, MatView<double> y) {
  for (int64_t r = 0; r < q.rows; ++r) {
    const int64_t keys = position + r + 1;
    attention(q.slice_rows(r, 1), k.slice_rows(0, keys), v.slice_rows(0, keys), scale,
              y.slice_rows(r, 1));
  }
}

}  // namespace scute::reference
