#include "scute/models/mixer.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "scute/base/error.h"
#include "scute/models/grids.h"

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
