#include "scute/language/low_bit_check.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>

#include "scute/base/error.h"
#include "scute/base/names.h"
#include "scute/language/low_bit_config.h"
#include "scute/language/low_bit_matrix_check.h"
#include "scute/language/scale_names.h"

namespace scute {
namespace {

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
  require_tensor(weights, name + "conv1d.weight_scale", eight_bit, label);
  const std::string scan = name + "selective_scan.";
  require_tensor(weights, scan + "u_scale", eight_bit, label);
  require_tensor(weights, scan + "ssm_state_scale", eight_bit && state_scale != "none", label);
  require_tensor(weights, scan + "ssm_state_channel_scale", eight_bit && state_scale == "channel",
                 label);
}

/// Readers of other programs look for one number under several names: edited outside scute in one
/// of them, they would compute another model than this engine does.
void check_twins(const Weights& weights, const ModelDescription& model,
                 const std::vector<std::string>& names) {
  std::map<std::string, std::vector<std::string>> twins;  // by site
  const ScaleOrigins own{model.scheme, false};
  for (const StoredScale& scale : find_scales(names, model.config.mixer, own)) {
    if (scale.site.empty() || weights.at(scale.tensor).size() != 1) continue;
    twins[scale.site].push_back(scale.tensor);
  }
  for (const auto& [site, tensors] : twins) {
    std::vector<std::string> found;
    std::set<float> values;
    for (const std::string& tensor : tensors) {
      const float value = to_vector(weights.at(tensor)).front();
      values.insert(value);
      found.push_back(fmt::format("{} {}", tensor, value));
    }
    if (values.size() < 2) continue;
    fail(fmt::format("{}: {}", model.path, site),
         fmt::format("one scale under all its names (scute scales {} --set '{}*=1.5' changes them "
                     "together)",
                     model.path, site),
         joined(found, ", "));
  }
}

}  // namespace

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
  check_twins(weights, model, names);
}

}  // namespace scute
