#include "scute/regressor/writer.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "scute/base/error.h"

namespace scute {
namespace {

using Dict = TorchValue::Dict;
using Mode = RegressorQuantization::Mode;

constexpr std::string_view kBackbone = "backbone.";
constexpr std::string_view kFormat = "scute-regressor";
constexpr int64_t kVersion = 1;

std::string_view mode_name(const RegressorQuantization& how) {
  if (how.mode == Mode::fixed) return "fixed";
  return how.mode == Mode::per_layer ? "per-layer" : "dynamic";
}

void set(Dict& dict, std::string_view key, TorchValue::Value value) {
  const auto found = std::ranges::find(dict, key, &Dict::value_type::first);
  if (found != dict.end()) {
    found->second = TorchValue(std::move(value));
  } else {
    dict.emplace_back(std::string(key), TorchValue(std::move(value)));
  }
}

TorchValue arch_of(const RegressorCheckpoint& checkpoint, const RegressorQuantization& how) {
  Dict arch = std::get<Dict>(checkpoint.arch.value);
  const bool extension = how.backend == RegressorBackend::extension;
  set(arch, "quant_backend", std::string(extension ? "cpp" : "python"));
  set(arch, "quant_bits", int64_t{how.bits});
  set(arch, "quant_mode", std::string(mode_name(how)));
  set(arch, "quantize_all", how.all);
  set(arch, "q_proj", how.proj);
  set(arch, "q_head", how.head);
  set(arch, "q_block_linear", how.block_linear);
  set(arch, "q_backbone_linear", how.backbone_linear);
  return TorchValue(std::move(arch));
}

/// The layer's name in a LayerRounding: "backbone.blocks.0.in_proj" is blocks.0.in_proj.
std::string rounding_name(std::string_view module, bool pooled) {
  if (module.starts_with(kBackbone)) module.remove_prefix(kBackbone.size());
  return std::string(module == "output_layer_pool" && pooled ? "output_layer" : module);
}

/// Modules that are wrapped in a convolution of their own: LAYER.conv.weight.
bool wrapped(std::string_view module) {
  constexpr std::array<std::string_view, 4> kEndings{".patch_embedding", ".output_layer_pool",
                                                     ".in_proj", ".out_proj"};
  if (module == "proj" || module == "head") return true;
  return std::ranges::any_of(kEndings,
                             [&](std::string_view ending) { return module.ends_with(ending); });
}

Tensor floats(std::vector<float> values, Shape shape) {
  return Tensor::of<float>(std::move(shape), values);
}

/// The tensors of one rounded layer, in its key style.
void add_layer(const std::string& module, const Tensor& weight, const Tensor* bias,
               const LayerRounding& layer, Dict& state) {
  const bool extension = layer.backend == RegressorBackend::extension;
  const std::string wrap =
      module + (extension && !module.ends_with("patch_embedding") ? ".qconv.impl." : ".qconv.");
  const auto add = [&](std::string_view name, const Tensor& tensor) {
    state.emplace_back(wrap + std::string(name), TorchValue(tensor));
  };
  add("conv.weight", weight);
  if (bias != nullptr) add("conv.bias", *bias);
  const int64_t channels = weight.dim(1), outputs = weight.dim(0);
  const Tensor input = floats(spread_scales(layer.input, channels, module), {channels});
  const Tensor output = floats(spread_scales(layer.weight, outputs, module), {outputs});
  if (extension) {
    add("a_scale", input);
    add("a_zp", floats({layer.input_zero}, {}));
    add("w_scale", output);
  } else {
    add("qa.scale", input);
    add("qa.zero_point", floats({0}, {1}));
    add("qw.scale", output);
    add("qw.zero_point", floats({0}, {1}));
  }
}

/// Statistics as a dictionary: their tensors by name, and their metadata, texts.
Dict statistics_part(const StatisticsSet& statistics) {
  Dict tensors, metadata, out;
  for (NamedTensor& item : to_tensors(statistics)) {
    tensors.emplace_back(std::move(item.name), TorchValue(std::move(item.tensor)));
  }
  for (const auto& [key, text] : to_metadata(statistics)) set(metadata, key, text);
  set(out, "tensors", std::move(tensors));
  set(out, "metadata", std::move(metadata));
  return out;
}

RegressorRounding stored_layers(const CalibratedRegressor& calibrated) {
  if (!calibrated.formats) return calibrated.rounding;
  RegressorRounding out;
  for (const auto& [name, layer] : calibrated.formats->layers) {
    out[name] = {
        RegressorBackend::integer, layer.input.spec.bits, {layer.input.scale}, layer.weight};
  }
  return out;
}

Dict state_of(const RegressorCheckpoint& checkpoint, const CalibratedRegressor& calibrated) {
  const bool pooled = checkpoint.config.pool != RegressorConfig::Pool::flat;
  const RegressorRounding rounding = stored_layers(calibrated);
  Dict out;
  for (const std::string& name : checkpoint.weights.names()) {
    const Tensor& tensor = checkpoint.weights.at(name);
    const size_t dot = name.rfind('.');
    const std::string module = name.substr(0, dot), part = name.substr(dot + 1);
    if (!wrapped(module)) {
      out.emplace_back(name, TorchValue(tensor));
      continue;
    }
    const auto layer = rounding.find(rounding_name(module, pooled));
    if (layer == rounding.end()) {
      out.emplace_back(module + ".conv." + part, TorchValue(tensor));
    } else if (part == "weight") {
      const std::string bias = module + ".bias";
      const Tensor* with =
          checkpoint.weights.contains(bias) ? &checkpoint.weights.at(bias) : nullptr;
      add_layer(module, tensor, with, layer->second, out);
    }
  }
  return out;
}

}  // namespace

void write_calibrated_regressor(const std::string& path, const RegressorCheckpoint& checkpoint,
                                const CalibratedRegressor& calibrated) {
  Dict root;
  set(root, "state_dict", state_of(checkpoint, calibrated));
  set(root, "cfg", checkpoint.cfg.value);
  root.emplace_back("arch", arch_of(checkpoint, calibrated.how));
  const RegressorTraining& training = checkpoint.training;
  if (training.epoch) set(root, "epoch", *training.epoch);
  if (!training.best_metric.empty()) set(root, "best_metric", training.best_metric);
  if (training.best_value) set(root, "best_val", *training.best_value);
  root.emplace_back("scute", scute_part(calibrated));
  write_torch(path, TorchValue(std::move(root)));
}

TorchValue scute_part(const CalibratedRegressor& calibrated) {
  Dict out;
  set(out, "format", std::string(kFormat));
  set(out, "version", kVersion);
  const bool codes = calibrated.how.backend == RegressorBackend::integer;
  set(out, "backend", std::string(codes ? "integer" : "as arch"));
  for (const auto& [key, text] : calibrated.provenance) set(out, key, text);
  if (!calibrated.plan.sites.empty()) set(out, "ranges", calibrated.plan.to_json().dump(1));
  if (calibrated.statistics) set(out, "statistics", statistics_part(*calibrated.statistics));
  if (!calibrated.formats) return TorchValue(std::move(out));
  Dict layers, values;
  for (const auto& [name, layer] : calibrated.formats->layers) {
    Dict one;
    set(one, "bits", int64_t{layer.input.spec.bits});
    set(one, "input", static_cast<double>(layer.input.scale));
    set(one, "bias", static_cast<double>(layer.bias));
    set(one, "weight", floats(layer.weight, {std::ssize(layer.weight)}));
    set(layers, name, std::move(one));
  }
  for (const auto& [name, grid] : calibrated.formats->values) {
    set(values, name, static_cast<double>(grid.scale));
  }
  set(out, "layers", std::move(layers));
  set(out, "values", std::move(values));
  return TorchValue(std::move(out));
}

}  // namespace scute
