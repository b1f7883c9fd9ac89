#include "scute/models/language/mixer.h"

#include <algorithm>

namespace scute {

void scatter_columns(MatView<const float> x, std::span<const int32_t> order, MatView<float> y) {
  for (int64_t t = 0; t < x.rows; ++t) {
    for (int64_t c = 0; c < x.cols; ++c) y.row(t)[order[static_cast<size_t>(c)]] = x.row(t)[c];
  }
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
