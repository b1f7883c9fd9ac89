// The tensors that a quantized matrix becomes in a checkpoint.
#pragma once

#include <string>
#include <vector>

#include "scute/quantize/weight.h"

namespace scute {

/// Appends the tensors that LinearTensors reads under `name`: 8 bit: `weight`, `weight_scale`; 4
/// bit: `weight_packed`, `weight_shape`, `weight_scale` (f16), perhaps `weight_channel_scale`.
void store_weight(const std::string& name, const QuantizedWeight& weight,
                  std::vector<NamedTensor>& to);

}  // namespace scute
