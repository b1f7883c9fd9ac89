// What the two mixers share: reading vectors from a checkpoint and walking the scan in segments.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "scute/models/grids.h"
#include "scute/models/run.h"
#include "scute/tensor/tensor.h"

namespace scute {

/// All elements as floats.
std::vector<float> to_vector(const Tensor& tensor);
/// −exp(A_log), in double, rounded once.
std::vector<float> negative_exp(const Tensor& A_log);
/// The scale of an 8-bit site, stored under `name` in one element.
float one_scale(const Tensor& tensor, const std::string& name);
/// An order of channels, each of 0 … n − 1 once; Error naming `name` otherwise.
std::vector<int32_t> to_order(const Tensor& tensor, const std::string& name);
/// y[t, order[c]] = x[t, c].
void scatter_columns(MatView<const float> x, std::span<const int32_t> order, MatView<float> y);
/// The scales of a site's columns: one for all, or one each.
SiteScales column_scales(const Tensor& tensor, const std::string& name);
/// One scale for each of `count` columns, whichever form they are stored in.
std::vector<float> spread_scales(const SiteScales& scales, int64_t count);
/// Error naming both tensors when a checkpoint stores two values for one scale.
void require_same_scale(float a, const std::string& name_a, float b, const std::string& name_b);

/// Calls scan(first, count) over consecutive pieces of `length` tokens. When somebody wants
/// `steps`, a piece ends after every state_every-th token counted from the sequence's start
/// (`position` tokens were seen before), and `state` is shown there.
void scan_in_steps(Run& run, const Site& steps, int64_t position, int64_t length,
                   MatView<float> state, const std::function<void(int64_t, int64_t)>& scan);

}  // namespace scute
