// What the two mixers share: columns put in order, and walking the scan in segments.
#pragma once

#include <cstdint>
#include <functional>
#include <span>

#include "scute/models/run.h"

namespace scute {

/// y[t, order[c]] = x[t, c].
void scatter_columns(MatView<const float> x, std::span<const int32_t> order, MatView<float> y);
/// Calls scan(first, count) over consecutive pieces of `length` tokens. When somebody wants
/// `steps`, a piece ends after every state_every-th token counted from the sequence's start
/// (`position` tokens were seen before), and `state` is shown there.
void scan_in_steps(Run& run, const Site& steps, int64_t position, int64_t length,
                   MatView<float> state, const std::function<void(int64_t, int64_t)>& scan);

}  // namespace scute
