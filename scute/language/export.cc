#include "scute/language/export.h"

#include <fmt/format.h>

#include <algorithm>

#include "scute/base/error.h"
#include "scute/io/file.h"
#include "scute/io/safetensors.h"
#include "scute/language/tokenizer_files.h"
#include "scute/models/grids.h"
#include "scute/quantize/rotation.h"
#include "scute/recipe/folder_writer.h"

namespace scute {
namespace {

/// f32 as it is; bf16 rounded to nearest even.
Tensor as_type(const Tensor& values, DType type) {
  if (type != DType::f32 && type != DType::bf16) {
    fail("--dtype", "f32 or bf16", std::string(name_of(type)));
  }
  return values.rounded_to(type);
}

/// codes · scale of their channel, (channels, 1, taps).
Tensor float_taps(const ConvolutionTensors& conv) {
  if (!conv.quantized()) return conv.weight;
  const std::vector<float> scales = checked_scales(conv.scale, conv.name + ".weight_scale");
  const auto codes = conv.weight.values<int8_t>();
  const size_t taps = codes.size() / scales.size();
  Tensor out(DType::f32, conv.weight.shape());
  const auto values = out.mutable_values<float>();
  for (size_t i = 0; i < codes.size(); ++i) {
    values[i] = static_cast<float>(codes[i]) * scales[i / taps];
  }
  return out;
}

/// Reads a low-bit model tensor by tensor and keeps what a plain one has.
class Exporter {
 public:
  Exporter(const ModelDescription& model, DType type)
      : model_(model), type_(type), weights_(read_weights(model)), reader_(weights_) {}

  std::vector<NamedTensor> run() {
    const MambaConfig& config = model_.config;
    const LinearTensors table(reader_, "backbone.embedding", config.vocabulary, config.width);
    std::vector<Tensor> norms;
    std::vector<std::variant<Mamba1Mixer::Raw, Mamba2Mixer::Raw>> mixers;
    for (int64_t i = 0; i < config.layers; ++i) {
      const std::string block = fmt::format("backbone.layers.{}.", i), name = block + "mixer.";
      norms.push_back(reader_.take(block + "norm.weight", {config.width}));
      if (config.mixer == MixerKind::mamba1) {
        mixers.emplace_back(std::in_place_index<0>, reader_, name, config);
      } else {
        mixers.emplace_back(std::in_place_index<1>, reader_, name, config);
      }
    }
    const Tensor norm_f = reader_.take("backbone.norm_f.weight", {config.width});
    LinearTensors head;
    if (!config.tied_head) {
      head = LinearTensors(reader_, "lm_head", config.vocabulary, config.width);
    } else if (reader_.contains("lm_head.input_scale")) {
      reader_.take("lm_head.input_scale", {1});
    }
    reader_.finish();

    linear(table, {});
    out_.back().name = embedding_name();
    for (size_t i = 0; i < mixers.size(); ++i) {
      keep(fmt::format("backbone.layers.{}.norm.weight", i), norms[i]);
      std::visit([this](const auto& raw) { mixer(raw); }, mixers[i]);
    }
    keep("backbone.norm_f.weight", norm_f);
    if (!config.tied_head) linear(head, {.inputs = model_.scheme.folded_head});
    return std::move(out_);
  }

 private:
  /// Which sides of a matrix are rotated.
  struct Rotated {
    bool inputs = false, outputs = false;
  };

  std::string embedding_name() const {
    const bool plural = model_.dialect == "Hugging Face";
    return plural ? "backbone.embeddings.weight" : "backbone.embedding.weight";
  }
  void keep(std::string name, Tensor tensor) {
    out_.push_back({std::move(name), type_ == DType::f32 ? tensor.to_f32() : std::move(tensor)});
  }
  /// `order`: of the inputs, once the rotation is undone; empty: as they are.
  void linear(const LinearTensors& tensors, Rotated rotated, std::span<const int32_t> order = {}) {
    Tensor weight = tensors.quantized() ? dequantize(tensors.weight_codes()) : tensors.weight;
    if (rotated.inputs || rotated.outputs) {
      MatrixEdit edit(weight);
      if (rotated.inputs) edit.unrotate_inputs();
      if (rotated.outputs) edit.unrotate_outputs();
      if (!order.empty()) edit.permute_inputs(order);
      weight = edit.tensor();
    }
    out_.push_back({tensors.name + ".weight", as_type(weight, type_)});
  }
  /// What both mixers have.
  template <class Raw>
  void shared(const Raw& raw, std::span<const int32_t> order) {
    const Scheme& scheme = model_.scheme;
    linear(raw.in_proj, {.inputs = scheme.rotated_stream});
    out_.push_back({raw.conv.name + ".weight", as_type(float_taps(raw.conv), type_)});
    if (model_.config.conv_bias) keep(raw.conv.name + ".bias", raw.conv.bias);
    keep(raw.name + "A_log", raw.A_log);
    keep(raw.name + "D", raw.D);
    linear(raw.out_proj, {.inputs = scheme.rotated_out_proj, .outputs = scheme.rotated_stream},
           order);
  }
  void mixer(const Mamba1Mixer::Raw& raw) {
    shared(raw, {});
    linear(raw.x_proj, {});
    linear(raw.dt_proj, {});
    keep(raw.name + "dt_proj.bias", raw.dt_bias);
  }
  void mixer(const Mamba2Mixer::Raw& raw) {
    std::span<const int32_t> order;
    if (raw.order.size() > 0) order = raw.order.values<int32_t>();
    shared(raw, order);
    keep(raw.name + "dt_bias", raw.dt_bias);
    keep(raw.name + "norm.weight", raw.norm);
  }

  const ModelDescription& model_;
  DType type_;
  Weights weights_;
  WeightReader reader_;
  std::vector<NamedTensor> out_;
};

/// The original's keys; the type that readers may convert weights to is the stored one.
Json plain_config(const Json& config, DType type) {
  Json out = Json::object();
  for (const auto& [key, value] : config.as_object("config.json")) {
    if (key == "quantization_config" || key == "scute") continue;
    const bool names_type = key == "torch_dtype" || key == "dtype";
    out.append_member(key, names_type ? Json(type == DType::f32 ? "float32" : "bfloat16") : value);
  }
  return out;
}

}  // namespace

PlainModel dequantized(const ModelDescription& model, DType type) {
  if (!model.low_bit) fail(model.path, "a low-bit model (scute quantize)", "a float one");
  PlainModel out{model, Exporter(model, type).run()};
  out.description.low_bit = false;
  out.description.scheme = {};
  out.description.json = plain_config(model.json, type);
  return out;
}

void write_plain(const ModelDescription& from, const PlainModel& model, const FolderWriter& folder,
                 const std::string& part) {
  write_safetensors(folder.file(part + "model.safetensors"), model.tensors, {{"format", "pt"}});
  write_file(folder.file(part + "config.json"), model.description.json.dump_config(2) + "\n");
  copy_tokenizer(from, folder, part);
}

ProbeComparison export_dequantized(const ModelDescription& model, DType type,
                                   const std::string& path, bool replace) {
  FolderWriter folder(path, {.sources = {model.path}, .replace = replace});
  const PlainModel plain = dequantized(model, type);
  write_plain(model, plain, folder);
  Json recipe;
  recipe["tool"] = "scute " SCUTE_VERSION;
  recipe["dequantized"] = model.name;
  recipe["model_sha256"] = hash_model(model);
  write_file(folder.file("recipe.json"), recipe.dump(2) + "\n");

  const Execution execution;
  constexpr auto kHead = LanguageModel::Head::packed;
  const ProbeComparison out =
      compare_logits(load_model(model, execution, kHead),
                     load_model(describe_model(folder.path()), execution, kHead), kProbeSeed);
  folder.commit();
  return out;
}

}  // namespace scute
