#include "scute/regressor/checkpoint.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "scute/base/error.h"
#include "scute/base/portable_math.h"
#include "scute/io/checkpoint.h"
#include "scute/io/file.h"
#include "scute/regressor/checkpoint_keys.h"
#include "scute/regressor/checkpoint_settings.h"
#include "scute/regressor/writer.h"

namespace scute {
namespace {

using KeyPart = RegressorKey::Part;

/// The tensors of one layer's scales, as stored.
struct StoredScales {
  RegressorQuantization::Backend backend = RegressorQuantization::Backend::lsq;
  std::map<KeyPart, Tensor> parts;
};

/// A state_dict under one naming.
struct Sorted {
  Weights weights;
  std::vector<std::string> layers;  ///< that have scales, in the file's order
  std::map<std::string, StoredScales> scales;
  std::string prefix;  ///< of every name, dropped
};

std::string own_name(const RegressorKey& key) {
  return key.layer + (key.part == KeyPart::weight ? ".weight" : ".bias");
}

void add_scale(const RegressorKey& key, const Tensor& tensor, const std::string& path,
               Sorted& sorted) {
  const auto [found, fresh] = sorted.scales.try_emplace(key.layer);
  if (fresh) sorted.layers.push_back(key.layer);
  StoredScales& stored = found->second;
  if (!fresh && stored.backend != key.backend) {
    fail(path, fmt::format("scales of {} in one key style", key.layer), "two");
  }
  stored.backend = key.backend;
  if (!stored.parts.emplace(key.part, tensor).second) {
    fail(path, fmt::format("each scale of {} once", key.layer), "one twice");
  }
}

Sorted sort_keys(const TorchValue::Dict& state, const std::string& path) {
  Sorted out{Weights(path), {}, {}, {}};
  std::vector<std::string> names;
  for (const auto& [name, value] : state) names.push_back(name);
  out.prefix = wrapper_prefix(names);
  for (const auto& [full, value] : state) {
    const auto* tensor = std::get_if<Tensor>(&value.value);
    if (tensor == nullptr) {
      fail(path, "tensors in its state_dict", fmt::format("{}: {}", full, no_tensor_text(value)));
    }
    const std::string name = full.substr(out.prefix.size());
    const auto key = parse_regressor_key(name);
    if (!key) {
      out.weights.add(name, *tensor);
    } else if (key->part == KeyPart::weight || key->part == KeyPart::bias) {
      out.weights.add(own_name(*key), *tensor);
    } else {
      add_scale(*key, *tensor, path, out);
    }
  }
  return out;
}

RegressorConfig::Variant variant_of(const Weights& weights, const std::string& path) {
  if (weights.contains("backbone.blocks.0.A_log")) return RegressorConfig::Variant::origin;
  if (weights.contains("backbone.blocks.0.ssm.dt_proj.weight")) {
    return RegressorConfig::Variant::slim;
  }
  fail(path,
       "a regressor: backbone.blocks.0.ssm.dt_proj.weight (slim) or backbone.blocks.0.A_log "
       "(origin)",
       "neither");
}

void require_finite(const Weights& weights, const std::string& path) {
  for (const std::string& name : weights.names()) {
    const Tensor wide = weights.at(name).to_f32();
    const auto values = wide.values<float>();
    const auto bad = std::ranges::find_if(values, [](float x) { return !std::isfinite(x); });
    if (bad == values.end()) continue;
    fail(path, "finite weights",
         fmt::format("{} in {} at element {}", *bad, name, bad - values.begin()));
  }
}

/// A_log = log(1 … N) in every row and D = 1: how such a block begins its training.
bool untrained(const OriginBlockTensors& block) {
  const Tensor D = block.D.to_f32(), A_log = block.A_log.to_f32();
  if (!std::ranges::all_of(D.values<float>(), [](float d) { return d == 1.0F; })) return false;
  const auto rows = A_log.matrix<float>();
  for (int64_t i = 0; i < rows.rows; ++i) {
    for (int64_t n = 0; n < rows.cols; ++n) {
      // Two libraries' logarithms differ in the last bit, 2.4e-7 at most; a training step is 1e-4.
      const double begun = portable::log(static_cast<double>(n + 1));
      if (!(std::abs(double{rows.row(i)[n]} - begun) <= 4e-7)) return false;
    }
  }
  return true;
}

/// A slim checkpoint that was once loaded into an origin model, strictness off, and saved again:
/// its shared tensors are trained, those of the blocks random.
void refuse_untrained(const RegressorTensors& tensors, const std::string& path) {
  for (const auto& block : tensors.blocks) {
    const auto* origin = std::get_if<OriginBlockTensors>(&block);
    if (origin == nullptr || !untrained(*origin)) return;
  }
  fail(path, "a trained model",
       fmt::format(
           "a corrupt checkpoint: A_log is log(1 … {}) and D is 1 in all {} blocks, as before any "
           "training. It was probably written by loading a slim checkpoint into an origin model "
           "with strict=False; use the checkpoint it was made from",
           RegressorConfig::state, tensors.blocks.size()));
}

std::vector<float> scale_values(const StoredScales& stored, KeyPart part, int64_t channels,
                                const std::string& where) {
  const auto found = stored.parts.find(part);
  if (found == stored.parts.end()) {
    fail(where, "scales of its inputs and of its weights", "only one of them");
  }
  const Tensor& tensor = found->second;
  const Shape& shape = tensor.shape();
  const bool one = tensor.size() == 1 && tensor.rank() <= 2;
  const bool each = shape == Shape{channels} || shape == Shape{channels, 1};
  if (!is_float(tensor.dtype()) || !(one || each)) {
    fail(where, fmt::format("one scale, or ({}) or ({}, 1) floats", channels, channels),
         fmt::format("{} {}", name_of(tensor.dtype()), to_string(shape)));
  }
  const Tensor wide = tensor.to_f32();
  const auto values = wide.values<float>();
  for (const float scale : values) {
    if (std::isfinite(scale) && scale > 0) continue;
    fail(where, "finite scales above 0", fmt::format("{}", scale));
  }
  return {values.begin(), values.end()};
}

std::optional<float> zero_point(const StoredScales& stored, KeyPart part,
                                const std::string& where) {
  const auto found = stored.parts.find(part);
  if (found == stored.parts.end()) return {};
  const Tensor& tensor = found->second;
  if (!is_float(tensor.dtype()) || tensor.size() != 1) {
    fail(where, "one zero point, a float",
         fmt::format("{} {}", name_of(tensor.dtype()), to_string(tensor.shape())));
  }
  const float zero = tensor.to_f32().values<float>()[0];
  if (!std::isfinite(zero)) fail(where, "a finite zero point", fmt::format("{}", zero));
  return zero;
}

std::vector<RegressorScales> read_scales(const Sorted& sorted, const std::string& path) {
  constexpr std::string_view kBackbone = "backbone.";
  std::vector<RegressorScales> out;
  for (const std::string& layer : sorted.layers) {
    const std::string where = fmt::format("{}: scales of {}", path, layer);
    if (!sorted.weights.contains(layer + ".weight")) {
      fail(where, "such a layer in the model", "none");
    }
    const Tensor& weight = sorted.weights.at(layer + ".weight");
    const StoredScales& stored = sorted.scales.at(layer);
    RegressorScales scales;
    scales.layer = layer.starts_with(kBackbone) ? layer.substr(kBackbone.size()) : layer;
    scales.backend = stored.backend;
    scales.input = scale_values(stored, KeyPart::input_scale, weight.dim(1), where);
    scales.weight = scale_values(stored, KeyPart::weight_scale, weight.dim(0), where);
    scales.input_zero = zero_point(stored, KeyPart::input_zero, where);
    scales.weight_zero = zero_point(stored, KeyPart::weight_zero, where);
    out.push_back(std::move(scales));
  }
  return out;
}

}  // namespace

RegressorCheckpoint parse_regressor_checkpoint(const TorchValue& root, const std::string& path) {
  const auto dict = [&](std::string_view key) -> const TorchValue& {
    const TorchValue* found = root.find(key);
    if (found == nullptr || !std::holds_alternative<TorchValue::Dict>(found->value)) {
      fail(path, "a regressor's checkpoint: a dictionary with state_dict, cfg and arch",
           fmt::format("no dictionary {}", key));
    }
    return *found;
  };
  Sorted sorted = sort_keys(std::get<TorchValue::Dict>(dict("state_dict").value), path);

  RegressorCheckpoint out;
  out.path = path;
  out.cfg = dict("cfg");
  out.arch = dict("arch");
  out.config = regressor_config(out.cfg, out.arch, variant_of(sorted.weights, path), path);
  out.quantization = regressor_quantization(out.arch, path);
  out.training = regressor_training(root, path);
  if (!sorted.prefix.empty()) out.remarks.push_back(prefix_remark(sorted.prefix));

  const RegressorTensors tensors(out.config, sorted.weights);
  require_finite(sorted.weights, path);
  refuse_untrained(tensors, path);
  out.scales = read_scales(sorted, path);
  out.weights = std::move(sorted.weights);
  if (const TorchValue* own = root.find("scute")) read_scute_part(*own, path, out);
  return out;
}

RegressorCheckpoint read_regressor_checkpoint(const std::string& path) {
  const InputFile file(path);
  RegressorCheckpoint out = parse_regressor_checkpoint(read_torch(file), path);
  out.file = file;
  return out;
}

std::string hash_regressor(const RegressorCheckpoint& checkpoint) {
  return checkpoint.source_sha256.empty() ? hash_checkpoint_file(checkpoint)
                                          : checkpoint.source_sha256;
}

std::string hash_checkpoint_file(const RegressorCheckpoint& checkpoint) {
  return checkpoint.file ? checkpoint.file->sha256() : hash_file(checkpoint.path);
}

Regressor build_regressor(const RegressorCheckpoint& checkpoint,
                          const RegressorRounding& rounding) {
  return {checkpoint.config,
          RegressorTensors(checkpoint.config, checkpoint.weights),
          {.rounding = rounding}};
}

}  // namespace scute
