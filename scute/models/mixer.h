// What the two mixers share: reading vectors from a checkpoint and walking the scan in segments.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "scute/models/run.h"
#include "scute/tensor/tensor.h"

namespace scute {

/// All elements as floats.
std::vector<float> to_vector(const Tensor& tensor);
/// −exp(A_log), in double, rounded once.
std::vector<float> negative_exp(const Tensor& A_log);
/// A convolution weight (channels, 1, taps) as taps × channels.
std::vector<float> conv_taps_first(const Tensor& weight);

/// Calls scan(first, count) over consecutive pieces of `length` tokens. When somebody wants
/// `steps`, a piece ends after every state_every-th token counted from the sequence's start
/// (`position` tokens were seen before), and `state` is shown there.
void scan_in_steps(Run& run, const Site& steps, int64_t position, int64_t length,
                   MatView<float> state, const std::function<void(int64_t, int64_t)>& scan);

}  // namespace scute
