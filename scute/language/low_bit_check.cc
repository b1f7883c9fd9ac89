#include "scute/language/low_bit_check.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
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

/// One matrix of each kind stands for those that are written with it.
void check_part(const Weights& weights, const ModelDescription& model, const BlockConfig& block,
                PartKind kind, const LayerFormat& format, const std::string& state_scale) {
  if (kind == PartKind::mixer) {
    return check_layer(weights, model, block.layer, format, state_scale);
  }
  const std::string layer = fmt::format("backbone.layers.{}.", block.layer), label = format.name();
  const bool eight_bit = !format.is_float() && format.eight_bit_activations();
  std::vector<std::string> matrices;
  const auto add = [&](const std::string& prefix, std::initializer_list<const char*> names) {
    for (const char* name : names) matrices.push_back(layer + prefix + name);
  };
  const bool gated = model.config.feed_forward.gated();
  const auto add_feed_forward = [&](const std::string& prefix) {
    if (gated) add(prefix, {"gate_proj"});
    add(prefix, {"up_proj", "down_proj"});
  };
  if (kind == PartKind::attention) add("attention.", {"q_proj", "k_proj", "v_proj", "o_proj"});
  if (kind == PartKind::feed_forward) add_feed_forward("mlp.");
  if (kind == PartKind::experts) {
    for (int64_t e = 0; e < model.config.experts.count; ++e) {
      add_feed_forward(fmt::format("mlp.experts.{}.", e));
    }
    if (model.config.experts.shared_inner > 0) add_feed_forward("mlp.shared.");
  }
  for (const std::string& matrix : matrices) {
    check_low_bit_matrix(weights, matrix, format.weight_bits, eight_bit, label);
  }
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

[[noreturn]] void refuse_foreign(const std::string& where, const std::string& method) {
  fail(where, "float weights, or a folder that scute quantize wrote",
       fmt::format("weights quantized by another tool: {}; quantize the float model instead",
                   method));
}

}  // namespace

void refuse_foreign_method(const ModelDescription& model) {
  const Json* said = model.json.find("quantization_config");
  if (model.low_bit || said == nullptr || !said->is_object()) return;
  const Json* method = said->find("quant_method");
  const std::string name =
      method != nullptr && method->is_string() ? method->as_string("") : "an unnamed method";
  // What scute itself writes there; without its own object beside, the tensors tell.
  if (name == "compressed-tensors") return;
  const Json* bits = said->find("bits");
  refuse_foreign(
      fmt::format("{}/{}: quantization_config", model.path, model.config_file),
      bits != nullptr && bits->is_int() ? fmt::format("{}, {} bits", name, bits->dump()) : name);
}

void refuse_foreign_tensors(const ModelDescription& model, const Weights& weights) {
  if (model.low_bit) return;
  struct Foreign {
    std::string_view ending;
    const char* method;
  };
  constexpr std::array<Foreign, 7> kForeign = {{{".qweight", "gptq or awq"},
                                                {".qzeros", "gptq or awq"},
                                                {".absmax", "bitsandbytes, 4 bits"},
                                                {".SCB", "bitsandbytes, 8 bits"},
                                                {".weight_scale_inv", "fp8"},
                                                {".W_q", "hqq"},
                                                {"._data", "quanto"}}};
  for (const std::string& name : weights.names()) {
    for (const Foreign& foreign : kForeign) {
      if (!name.ends_with(foreign.ending)) continue;
      refuse_foreign(model.path, fmt::format("{} (it has {})", foreign.method, name));
    }
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
  for (const BlockConfig& block : model.config.all_blocks()) {
    const LayerFormats& formats = layers[static_cast<size_t>(block.layer)];
    for (const PartKind kind : block.parts) {
      check_part(weights, model, block, kind, formats.of(kind), state);
    }
  }
  check_finite(weights);
  check_twins(weights, model, names);
}

}  // namespace scute
