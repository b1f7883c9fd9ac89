#include "scute/language/low_bit_config.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "scute/base/error.h"
#include "scute/base/names.h"
#include "scute/language/low_bit_groups.h"
#include "scute/quantize/weight.h"

namespace scute {
namespace {

constexpr const char* kFormat = "scute-low-bit";
constexpr int64_t kVersion = 1;

bool flag(const Json& json, std::string_view key, const std::string& where) {
  return json.at(key, where).as_bool(fmt::format("{}: {}", where, key));
}

/// Of keys that earlier folders lack.
bool flag_if_there(const Json& json, std::string_view key, const std::string& where) {
  return json.find(key) != nullptr && flag(json, key, where);
}

std::string text(const Json& json, std::string_view key, const std::string& where) {
  return json.at(key, where).as_string(fmt::format("{}: {}", where, key));
}

/// One group of compressed-tensors: these modules of so many inputs, weights of so many bits.
Json group(std::vector<std::string> targets, int bits, int64_t inputs, bool eight_bit_inputs,
           const QuantizeOptions& options) {
  const int64_t size = WeightFormat::fitting_group(inputs, options.group);
  const bool groups = bits == 4 && inputs > size;
  Json weights = Json::object();
  weights["num_bits"] = bits;
  weights["type"] = "int";
  weights["symmetric"] = true;
  weights["strategy"] = groups ? "group" : bits == 8 && options.per_tensor ? "tensor" : "channel";
  if (groups) weights["group_size"] = size;
  weights["dynamic"] = false;
  Json out = Json::object();
  out["targets"] = Json::array();
  for (std::string& target : targets) out["targets"].push_back(std::move(target));
  out["weights"] = std::move(weights);
  out["input_activations"] = Json();
  if (eight_bit_inputs) {
    Json activations = Json::object();
    activations["num_bits"] = 8;
    activations["type"] = "int";
    activations["symmetric"] = true;
    activations["strategy"] = "tensor";
    activations["dynamic"] = false;
    out["input_activations"] = std::move(activations);
  }
  out["output_activations"] = Json();
  out["format"] = bits == 4 ? "pack-quantized" : "int-quantized";
  return out;
}

/// "re:.*layers\.(0|3)\.mixer\.(in_proj|out_proj)$"
std::string pattern(const std::vector<std::string>& layers, std::string_view modules) {
  return fmt::format("re:.*layers\\.({})\\.mixer\\.({})$", joined(layers, "|"), modules);
}

bool has_mixer(const MambaConfig& config, int64_t layer) {
  if (config.blocks.empty()) return true;
  return std::ranges::any_of(config.blocks, [layer](const BlockConfig& block) {
    return block.layer == layer && block.has(PartKind::mixer);
  });
}

}  // namespace

Json scheme_to_json(const Scheme& scheme, const std::vector<LayerFormats>& layers,
                    const std::string& state_scale) {
  Json out = Json::object();
  out["format"] = kFormat;
  out["version"] = kVersion;
  out["tool"] = "scute " SCUTE_VERSION;
  out["rotated_stream"] = scheme.rotated_stream;
  out["rotated_out_proj"] = scheme.rotated_out_proj;
  if (scheme.rotated_down_proj) out["rotated_down_proj"] = true;
  if (scheme.rotated_experts) out["rotated_experts"] = true;
  if (scheme.rotated_latent) out["rotated_latent"] = true;
  out["folded_head"] = scheme.folded_head;
  out["state_scale"] = state_scale;
  const bool nearest = scheme.state_rounding == Scheme::StateRounding::nearest;
  out["state_rounding"] = nearest ? "nearest" : "stochastic";
  out["seed"] = static_cast<int64_t>(scheme.seed);
  if (scheme.cache != CacheForm::f32) out["cache"] = name_of(scheme.cache);
  out["layers"] = Json::array();
  for (const LayerFormats& layer : layers) out["layers"].push_back(layer.to_json());
  return out;
}

Scheme scheme_from_json(const Json& json, const std::string& where) {
  if (text(json, "format", where) != kFormat) {
    fail(where + ": format", kFormat, text(json, "format", where));
  }
  if (const int64_t version = json.at("version", where).as_int(where); version != kVersion) {
    fail(where + ": version", fmt::format("{}, which this scute reads", kVersion),
         fmt::format("{}", version));
  }
  Scheme out;
  out.rotated_stream = flag(json, "rotated_stream", where);
  out.rotated_out_proj = flag(json, "rotated_out_proj", where);
  out.rotated_down_proj = flag_if_there(json, "rotated_down_proj", where);
  out.rotated_experts = flag_if_there(json, "rotated_experts", where);
  out.rotated_latent = flag_if_there(json, "rotated_latent", where);
  out.folded_head = flag(json, "folded_head", where);
  const std::string scale = text(json, "state_scale", where);
  if (scale != "none" && scale != "tensor" && scale != "channel" && scale != "grouped") {
    fail(where + ": state_scale", "none, tensor, channel or grouped", scale);
  }
  const std::string rounding = text(json, "state_rounding", where);
  if (rounding != "nearest" && rounding != "stochastic") {
    fail(where + ": state_rounding", "nearest or stochastic", rounding);
  }
  out.state_rounding =
      rounding == "nearest" ? Scheme::StateRounding::nearest : Scheme::StateRounding::stochastic;
  out.seed = static_cast<uint64_t>(json.at("seed", where).as_int(where + ": seed"));
  if (json.find("cache") != nullptr) {
    out.cache = parse_cache(text(json, "cache", where), where + ": cache");
  }
  return out;
}

std::vector<LayerFormats> layers_from_json(const Json& json, const std::string& where) {
  std::vector<LayerFormats> out;
  const std::string at = where + ": layers";
  for (const Json& formats : json.at("layers", where).as_array(at)) {
    out.push_back(LayerFormats::from_json(formats, at));
  }
  return out;
}

Json quantization_config(const MambaConfig& config, const std::vector<LayerFormats>& layers,
                         const QuantizeOptions& options, const TableFormat& table) {
  // Layers by what their matrices look like: bits of the weights, 8-bit inputs or not.
  std::map<std::pair<int, bool>, std::vector<std::string>> forms;
  for (size_t i = 0; i < layers.size(); ++i) {
    const LayerFormat& format = layers[i].mixer;
    if (format.is_float() || !has_mixer(config, static_cast<int64_t>(i))) continue;
    forms[{format.weight_bits, format.eight_bit_activations()}].push_back(fmt::format("{}", i));
  }
  Json groups = Json::object();
  const auto add = [&](Json one) {
    groups[fmt::format("group_{}", groups.as_object("").size())] = std::move(one);
  };
  for (const auto& [form, numbers] : forms) {
    const auto& [bits, eight_bit] = form;
    if (bits == 8) {
      // dt_proj stays in floats beside float activations.
      const char* modules =
          eight_bit ? "in_proj|x_proj|dt_proj|out_proj" : "in_proj|x_proj|out_proj";
      add(group({pattern(numbers, modules)}, 8, config.inner, eight_bit, options));
      continue;
    }
    // A matrix of no more inputs than a group has one scale an output.
    const int64_t of_width = WeightFormat::fitting_group(config.width, options.group);
    const int64_t of_inner = WeightFormat::fitting_group(config.inner, options.group);
    const bool alike = (config.width > of_width) == (config.inner > of_inner) &&
                       (config.width <= of_width || of_width == of_inner);
    add(group({pattern(numbers, alike ? "in_proj|x_proj|out_proj" : "x_proj|out_proj")}, 4,
              config.inner, eight_bit, options));
    if (!alike) add(group({pattern(numbers, "in_proj")}, 4, config.width, eight_bit, options));
    if (eight_bit) add(group({pattern(numbers, "dt_proj")}, 8, config.dt_rank, true, options));
  }
  for (MatrixGroup& other : part_groups(config, layers, options.group)) {
    add(group(std::move(other.targets), other.bits, other.inputs, other.eight_bit_inputs, options));
  }
  if (table.bits != 0) {
    add(group({"re:.*embeddings$"}, table.bits, config.width, false, options));
    add(group({"lm_head"}, table.bits, config.width, table.eight_bit_inputs, options));
  }
  Json ignore = Json::array();
  if (table.bits == 0) ignore.push_back("lm_head");
  ignore.push_back("re:.*conv1d$");
  for (const std::string& part : float_parts(config)) ignore.push_back(part);
  Json out = Json::object();
  out["quant_method"] = "compressed-tensors";
  const bool one_form = groups.as_object("").size() == 1;
  out["format"] = one_form ? groups.as_object("").front().second.at("format", "").as_string("")
                           : "mixed-precision";
  out["quantization_status"] = "compressed";
  out["kv_cache_scheme"] = Json();
  out["global_compression_ratio"] = Json();
  out["ignore"] = std::move(ignore);
  out["config_groups"] = std::move(groups);
  return out;
}

}  // namespace scute
