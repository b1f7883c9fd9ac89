#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "scute/base/error.h"
#include "scute/models/vision/vision_tower.h"

namespace scute {
namespace {

/// Which inputs one output is made of, and how much of each.
struct Taps {
  int64_t first = 0;
  std::vector<float> weights;
};

/// Keys' cubic kernel with a = −1/2 (Keys 1981).
float cubic(float x) {
  constexpr float a = -0.5F;
  x = std::abs(x);
  if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
  if (x < 2) return (((x - 5) * x + 8) * x - 4) * a;
  return 0;
}

/// Weights of `to` outputs over `from` inputs, all in float32 as PyTorch computes them: the kernel
/// is widened by the scale where there are fewer outputs than inputs.
std::vector<Taps> antialiased_taps(int64_t from, int64_t to) {
  const float scale = static_cast<float>(from) / static_cast<float>(to);
  const float widening = std::max(scale, 1.0F);
  const float support = 2 * widening, narrowing = 1 / widening;
  std::vector<Taps> out(static_cast<size_t>(to));
  for (int64_t i = 0; i < to; ++i) {
    const float center = scale * (static_cast<float>(i) + 0.5F);
    Taps& taps = out[static_cast<size_t>(i)];
    taps.first = std::max<int64_t>(static_cast<int64_t>(center - support + 0.5F), 0);
    const int64_t end = std::min<int64_t>(static_cast<int64_t>(center + support + 0.5F), from);
    float sum = 0;
    for (int64_t j = taps.first; j < end; ++j) {
      taps.weights.push_back(cubic((static_cast<float>(j) - center + 0.5F) * narrowing));
      sum += taps.weights.back();
    }
    for (float& weight : taps.weights) weight /= sum;
  }
  return out;
}

/// out[o] = Σ weights · in[…], where elements that follow each other along the axis are `step`
/// apart, and each is `step` floats wide.
void resample_line(const std::vector<Taps>& taps, const float* in, int64_t step, float* out) {
  for (const Taps& tap : taps) {
    std::fill_n(out, step, 0.0F);
    for (size_t j = 0; j < tap.weights.size(); ++j) {
      const float* from = in + (tap.first + static_cast<int64_t>(j)) * step;
      for (int64_t c = 0; c < step; ++c) out[c] += tap.weights[j] * from[c];
    }
    out += step;
  }
}

}  // namespace

Tensor resample_positions(const Tensor& positions, int64_t from, int64_t to) {
  constexpr int64_t kMost = 1 << 14;  // a side; VisionConfig::check allows no longer one
  if (from < 1 || from > kMost || to < 1 || to > kMost) {
    fail("pos_embed", fmt::format("grids from 1 to {} patches a side", kMost),
         fmt::format("{} and {}", from, to));
  }
  if (positions.rank() != 3 || positions.dim(0) != 1 || positions.dim(1) != from * from) {
    fail("pos_embed", fmt::format("the shape (1, {}, width)", from * from),
         to_string(positions.shape()));
  }
  const Tensor wide = positions.to_f32();
  if (from == to) return wide;
  const std::vector<Taps> taps = antialiased_taps(from, to);
  const int64_t D = wide.dim(2);
  Tensor narrow(DType::f32, {from, to, D}), out(DType::f32, {1, to * to, D});
  for (int64_t y = 0; y < from; ++y) {
    resample_line(taps, wide.values<float>().data() + y * from * D, D,
                  narrow.mutable_values<float>().data() + y * to * D);
  }
  resample_line(taps, narrow.values<float>().data(), to * D, out.mutable_values<float>().data());
  return out;
}

}  // namespace scute
