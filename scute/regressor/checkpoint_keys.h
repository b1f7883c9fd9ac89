// Which layer and which of its tensors a key of a regressor's state_dict means.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "scute/regressor/checkpoint.h"

namespace scute {

struct RegressorKey {
  enum class Part { weight, bias, input_scale, input_zero, weight_scale, weight_zero };
  std::string layer;  ///< as a module: proj, backbone.blocks.0.in_proj, …
  Part part;
  RegressorQuantization::Backend backend;  ///< of scales
};

/// A key of a layer that may be wrapped, in any style: LAYER.conv.weight; LAYER.qconv.conv.weight
/// with qa.scale, qa.zero_point, qw.scale, qw.zero_point (python); LAYER.qconv.impl.conv.weight
/// with a_scale, a_zp, w_scale, w_zp (cpp), or the same without impl. Nothing for every other key,
/// which is a tensor's own name already: so is backbone.patch_embedding.weight of old files.
std::optional<RegressorKey> parse_regressor_key(std::string_view key);

}  // namespace scute
