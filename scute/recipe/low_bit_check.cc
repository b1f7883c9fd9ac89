#include "scute/recipe/low_bit_check.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "scute/base/error.h"
#include "scute/recipe/low_bit_config.h"

namespace scute {
namespace {

void require(const Weights& weights, const std::string& name, bool wanted, std::string_view why) {
  if (weights.contains(name) == wanted) return;
  fail(weights.source(),
       fmt::format("{}{}, which config.json calls {}", wanted ? "the tensor " : "no tensor ", name,
                   why),
       wanted ? "none" : "one");
}

void check_layer(const Weights& weights, const ModelDescription& model, int64_t index,
                 const LayerFormat& format, const std::string& state_scale) {
  const std::string name = fmt::format("backbone.layers.{}.mixer.", index), label = format.name();
  const bool eight_bit = !format.is_float() && format.eight_bit_activations();
  const bool one = model.config.mixer == MixerKind::mamba1;
  for (const char* matrix : {"in_proj", "x_proj", "out_proj"}) {
    if (!one && std::string_view(matrix) == "x_proj") continue;
    check_low_bit_matrix(weights, name + matrix, format.weight_bits, eight_bit, label);
  }
  if (one) check_low_bit_matrix(weights, name + "dt_proj", eight_bit ? 8 : 16, eight_bit, label);
  require(weights, name + "conv1d.weight_scale", eight_bit, label);
  const std::string scan = name + "selective_scan.";
  require(weights, scan + "u_scale", eight_bit, label);
  require(weights, scan + "ssm_state_scale", eight_bit && state_scale != "none", label);
  require(weights, scan + "ssm_state_channel_scale", eight_bit && state_scale == "channel", label);
}

template <class T>
bool all_finite(const Tensor& tensor) {
  return std::ranges::all_of(tensor.values<T>(), [](T x) {
    if constexpr (std::is_arithmetic_v<T>) {
      return std::isfinite(x);
    } else {
      return std::isfinite(to_float(x));
    }
  });
}

bool all_finite(const Tensor& tensor) {
  switch (tensor.dtype()) {
    case DType::f64:
      return all_finite<double>(tensor);
    case DType::f32:
      return all_finite<float>(tensor);
    case DType::f16:
      return all_finite<f16>(tensor);
    case DType::bf16:
      return all_finite<bf16>(tensor);
    default:
      return true;
  }
}

}  // namespace

void check_low_bit_matrix(const Weights& weights, const std::string& name, int bits,
                          bool eight_bit_input, std::string_view format) {
  require(weights, name + ".weight_packed", bits == 4, format);
  require(weights, name + ".weight", bits != 4, format);
  require(weights, name + ".weight_scale", bits != 16, format);
  require(weights, name + ".input_scale", eight_bit_input, format);
  if (bits == 4) return;
  const DType type = weights.at(name + ".weight").dtype();
  if ((type == DType::i8) != (bits == 8)) {
    fail(weights.source(),
         fmt::format("{}.weight of {}, which config.json calls {}", name,
                     bits == 8 ? "8-bit codes" : "floats", format),
         std::string(name_of(type)));
  }
}

void check_low_bit(const Weights& weights, const ModelDescription& model) {
  const std::vector<std::string> names = weights.names();
  if (!model.low_bit) {
    const auto scale = std::ranges::find_if(
        names, [](const std::string& name) { return name.ends_with(".weight_scale"); });
    if (scale == names.end()) return;
    fail(model.path, "a \"scute\" object in config.json beside low-bit tensors",
         fmt::format("none, but {}", *scale));
  }
  const std::string where = model.path + "/config.json: scute";
  const Json& scute = model.json.at("scute", where);
  const auto layers = layers_from_json(scute, where);
  const std::string state = scute.at("state_scale", where).as_string(where + ": state_scale");
  for (size_t i = 0; i < layers.size(); ++i) {
    check_layer(weights, model, static_cast<int64_t>(i), layers[i], state);
  }
  check_finite(weights);
}

void check_finite(const Weights& weights) {
  for (const std::string& name : weights.names()) {
    if (!all_finite(weights.at(name))) {
      fail(weights.source(), "finite numbers in " + name, "NaN or infinity");
    }
  }
}

}  // namespace scute
