#include "scute/models/mixer.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "scute/base/error.h"
#include "scute/models/grids.h"
#include "scute/quantize/order.h"

namespace scute {

std::vector<float> to_vector(const Tensor& tensor) {
  const Tensor wide = tensor.to_f32();
  const auto values = wide.values<float>();
  return {values.begin(), values.end()};
}

std::vector<float> negative_exp(const Tensor& A_log) {
  std::vector<float> out = to_vector(A_log);
  for (float& a : out) a = static_cast<float>(-std::exp(static_cast<double>(a)));
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

void scatter_columns(MatView<const float> x, std::span<const int32_t> order, MatView<float> y) {
  for (int64_t t = 0; t < x.rows; ++t) {
    for (int64_t c = 0; c < x.cols; ++c) y.row(t)[order[static_cast<size_t>(c)]] = x.row(t)[c];
  }
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

void scan_in_steps(Run& run, const Site& steps, int64_t position, int64_t length,
                   MatView<float> state, const std::function<void(int64_t, int64_t)>& scan) {
  const bool stepping = run.state_every() > 0 && run.wants(steps);
  for (int64_t first = 0; first < length;) {
    int64_t count = length - first;
    if (stepping) {
      const int64_t until = run.state_every() - (position + first) % run.state_every();
      count = std::min(count, until);
    }
    scan(first, count);
    first += count;
    if (stepping && (position + first) % run.state_every() == 0) run.pass(steps, state);
  }
}

}  // namespace scute
