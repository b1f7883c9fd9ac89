#include "scute/models/mixer.h"

#include <algorithm>
#include <cmath>

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

std::vector<float> conv_taps_first(const Tensor& weight) {
  const std::vector<float> in = to_vector(weight);
  const auto channels = static_cast<size_t>(weight.dim(0));
  const auto taps = static_cast<size_t>(weight.dim(2));
  std::vector<float> out(in.size());
  for (size_t c = 0; c < channels; ++c) {
    for (size_t k = 0; k < taps; ++k) out[k * channels + c] = in[c * taps + k];
  }
  return out;
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
