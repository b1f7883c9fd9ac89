#include "scute/language/stored_weight.h"

namespace scute {

void store_weight(const std::string& name, const QuantizedWeight& weight,
                  std::vector<NamedTensor>& to) {
  const auto keep = [&](const char* part, Tensor tensor) {
    to.push_back({name + part, std::move(tensor)});
  };
  if (weight.format.bits == 8) {
    keep(".weight", weight.codes);
    const bool one = weight.scales.size() == 1;
    keep(".weight_scale", one ? weight.scales.reshaped({1}) : weight.scales);
    return;
  }
  const std::vector<int64_t> shape{weight.outputs(), weight.inputs()};
  keep(".weight_packed", pack_int4(weight.codes));
  keep(".weight_shape", Tensor::of<int64_t>({2}, shape));
  keep(".weight_scale", weight.scales.rounded_to(DType::f16));
  if (weight.format.two_level) keep(".weight_channel_scale", weight.channel_scales);
}

}  // namespace scute
