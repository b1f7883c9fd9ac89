#include "scute/quantize/group_scale.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "scute/base/error.h"
#include "scute/kernels/rounding_error.h"

namespace scute {
namespace {

float four_bit_scale(std::span<const float> weights, double most) {
  constexpr int kSteps = 20;
  float best = half_scale(most / 7);
  double least = squared_rounding_error(weights, best);
  const auto try_scale = [&](double wanted) {
    const float scale = half_scale(wanted);
    if (scale == best) return;
    const double error = squared_rounding_error(weights, scale);
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

float largest_of(std::span<const float> weights) {
  float most = 0;
  for (const float w : weights) most = std::max(most, std::abs(w));
  return most;
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

float largest_magnitude(const Tensor& weights) { return largest_of(weights.values<float>()); }

float group_scale(std::span<const float> weights, int bits) {
  const float most = largest_of(weights);
  if (bits == 4) return four_bit_scale(weights, static_cast<double>(most));
  return make_grid(-static_cast<double>(most), static_cast<double>(most), {.bits = bits}).scale;
}

}  // namespace scute
