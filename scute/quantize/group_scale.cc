#include "scute/quantize/group_scale.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "scute/base/error.h"

namespace scute {
namespace {

/// Σ (w − code · scale)² over 4-bit codes, which are Grid::code's.
double squared_error(std::span<const float> weights, float scale) {
  const auto term = [scale](float w) {
    const float code = std::min(std::max(w / scale, -8.0f), 7.0f);
    const float whole = (code + 0x1.8p23f) - 0x1.8p23f;  // nearest, halves to even
    const double difference = w - whole * scale;
    return difference * difference;
  };
  // Eight sums side by side, so that the loop can run in vectors without changing any result.
  std::array<double, 8> sums{};
  const size_t whole_vectors = weights.size() / sums.size() * sums.size();
  for (size_t i = 0; i < whole_vectors; i += sums.size()) {
    for (size_t lane = 0; lane < sums.size(); ++lane) sums[lane] += term(weights[i + lane]);
  }
  double sum = 0;
  for (const double s : sums) sum += s;
  for (size_t i = whole_vectors; i < weights.size(); ++i) sum += term(weights[i]);
  return sum;
}

float four_bit_scale(std::span<const float> weights, double most) {
  constexpr int kSteps = 20;
  float best = half_scale(most / 7);
  double least = squared_error(weights, best);
  const auto try_scale = [&](double wanted) {
    const float scale = half_scale(wanted);
    if (scale == best) return;
    const double error = squared_error(weights, scale);
    if (error < least) {
      least = error;
      best = scale;
    }
  };
  for (int i = 0; i <= kSteps; ++i) {
    try_scale(most / 7 * (1 - 0.02 * i));
    try_scale(-most / 7 * (1 - 0.02 * i));
  }
  try_scale(most * 2 / 15);
  return best;
}

}  // namespace

float half_scale(double wanted) {
  const double magnitude = std::clamp(std::abs(wanted), 0x1p-14, 65504.0);
  return to_float(to_f16(static_cast<float>(std::copysign(magnitude, wanted))));
}

Tensor finite_weight(const Tensor& weight, std::string_view where) {
  switch (weight.dtype()) {
    case DType::f64:
    case DType::f32:
    case DType::f16:
    case DType::bf16:
      break;
    default:
      fail(where, "a float weight", std::string(name_of(weight.dtype())));
  }
  if (weight.rank() != 2) fail(where, "outputs × inputs", to_string(weight.shape()));
  Tensor out = weight.to_f32();
  const auto values = out.values<float>();
  const auto bad =
      std::find_if(values.begin(), values.end(), [](float w) { return !std::isfinite(w); });
  if (bad != values.end()) {
    const int64_t at = bad - values.begin();
    fail(where, "finite weights",
         fmt::format("{} at ({}, {})", *bad, at / out.dim(1), at % out.dim(1)));
  }
  return out;
}

QuantizedWeight empty_weight(int64_t outputs, int64_t inputs, const WeightFormat& format) {
  QuantizedWeight out;
  out.format = format;
  out.codes = Tensor(DType::i8, {outputs, inputs});
  const bool one = format.granularity == WeightFormat::Granularity::per_tensor;
  out.scales =
      Tensor(DType::f32, one ? Shape{1, 1} : Shape{outputs, inputs / format.group_inputs(inputs)});
  return out;
}

float group_scale(std::span<const float> weights, int bits) {
  float most = 0;
  for (const float w : weights) most = std::max(most, std::abs(w));
  if (bits == 4) return four_bit_scale(weights, static_cast<double>(most));
  return make_grid(-static_cast<double>(most), static_cast<double>(most), {.bits = bits}).scale;
}

}  // namespace scute
