#include "scute/models/scale_tensors.h"

#include <fmt/format.h>

#include <cmath>

#include "scute/base/error.h"
#include "scute/base/portable_math.h"
#include "scute/quantize/order.h"

namespace scute {

std::vector<float> negative_exp(const Tensor& A_log) {
  std::vector<float> out = to_vector(A_log);
  for (float& a : out) a = static_cast<float>(-portable::exp(static_cast<double>(a)));
  return out;
}

float one_scale(const Tensor& tensor, const std::string& name) {
  return checked_scales(tensor, name).front();
}

std::vector<int32_t> to_order(const Tensor& tensor, const std::string& name) {
  const auto values = tensor.values<int32_t>();
  check_order(values, tensor.size(), name);
  return {values.begin(), values.end()};
}

SiteScales column_scales(const Tensor& tensor, const std::string& name) {
  return {1, tensor.size(), checked_scales(tensor, name)};
}

std::vector<float> spread_scales(const SiteScales& scales, int64_t count) {
  std::vector<float> out(scales.values().begin(), scales.values().end());
  if (out.size() == 1) out.resize(static_cast<size_t>(count), out.front());
  return out;
}

void require_same_scale(float a, const std::string& name_a, float b, const std::string& name_b) {
  if (a == b) return;
  fail(name_b, fmt::format("{}, as {} says", a, name_a), fmt::format("{}", b));
}

}  // namespace scute
