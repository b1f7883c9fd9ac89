// What the two mixers share: columns put in order, and walking the scan in segments.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>

#include "scute/models/run.h"

namespace scute {

/// y[t, order[c]] = x[t, c].
void scatter_columns(MatView<const float> x, std::span<const int32_t> order, MatView<float> y);
/// Calls scan(first, count) over consecutive pieces of `length` tokens. When somebody wants
/// `steps`, a piece ends after every state_every-th token counted from the sequence's start
/// (`position` tokens were seen before), and `state` is shown there.
template <class Scan>
void scan_in_steps(Run& run, const Site& steps, int64_t position, int64_t length,
                   MatView<float> state, const Scan& scan) {
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
