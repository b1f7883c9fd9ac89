// Scales, orders and decay rates as checkpoints store them.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "scute/models/grids.h"
#include "scute/tensor/tensor.h"

namespace scute {

/// −exp(A_log), in double, rounded once.
std::vector<float> negative_exp(const Tensor& A_log);
/// The scale of an 8-bit site, stored under `name` in one element.
float one_scale(const Tensor& tensor, const std::string& name);
/// An order of channels, each of 0 … n − 1 once; Error naming `name` otherwise.
std::vector<int32_t> to_order(const Tensor& tensor, const std::string& name);
/// The scales of a site's columns: one for all, or one each.
SiteScales column_scales(const Tensor& tensor, const std::string& name);
/// One scale for each of `count` columns, whichever form they are stored in.
std::vector<float> spread_scales(const SiteScales& scales, int64_t count);
/// Error naming both tensors when a checkpoint stores two values for one scale.
void require_same_scale(float a, const std::string& name_a, float b, const std::string& name_b);

}  // namespace scute
