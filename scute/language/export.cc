#include "scute/language/export.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "scute/base/error.h"
#include "scute/io/file.h"
#include "scute/io/safetensors.h"
#include "scute/language/tokenizer_files.h"
#include "scute/models/grids.h"
#include "scute/quantize/rotation.h"
#include "scute/recipe/folder_writer.h"

namespace scute {
namespace {

using StoredAs = std::optional<DType>;

/// f32 as it is; bf16 rounded to nearest even.
Tensor as_type(const Tensor& values, StoredAs type) {
  return type ? values.rounded_to(*type) : values;
}

/// Which sides of a matrix are rotated, and the order of its inputs once that is undone; empty: as
/// they are.
struct Rotated {
  bool inputs = false, outputs = false;
  std::vector<int32_t> order = {};
};

Tensor float_matrix(const LinearTensors& tensors, const Rotated& rotated) {
  const Tensor weight = tensors.quantized() ? dequantize(tensors.weight_codes()) : tensors.weight;
  if (!rotated.inputs && !rotated.outputs) return weight;
  MatrixEdit edit(weight);
  if (rotated.inputs) edit.unrotate_inputs();
  if (rotated.outputs) edit.unrotate_outputs();
  if (!rotated.order.empty()) edit.permute_inputs(rotated.order);
  return edit.tensor();
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

/// Reads a model strictly and lists what a plain one has of it.
class Exporter {
 public:
  Exporter(const ModelDescription& model, StoredAs type)
      : model_(model), type_(type), weights_(read_weights(model)), reader_(weights_) {
    if (type && type != DType::f32 && type != DType::bf16) {
      fail("--dtype", "f32 or bf16", std::string(name_of(*type)));
    }
  }

  DeferredTensors run() {
    const MambaConfig& config = model_.config;
    const LinearTensors table(reader_, "backbone.embedding", config.vocabulary, config.width);
    std::vector<SharedTransformer::Raw> shared;
    for (int64_t i = 0; i < config.shared.count; ++i) shared.emplace_back(reader_, config, i);
    const std::vector<BlockConfig> configs = config.all_blocks();
    std::vector<Block::Raw> blocks;
    for (const BlockConfig& block : configs) blocks.emplace_back(reader_, config, block);
    const Tensor norm_f = reader_.take("backbone.norm_f.weight", {config.width});
    LinearTensors head;
    if (!config.tied_head) {
      head = LinearTensors(reader_, "lm_head", config.vocabulary, config.width);
    } else if (reader_.contains("lm_head.input_scale")) {
      reader_.take("lm_head.input_scale", {1});
    }
    reader_.finish();

    linear(table, {});
    for (size_t i = 0; i < shared.size(); ++i) shared_block(shared[i], static_cast<int64_t>(i));
    for (size_t i = 0; i < blocks.size(); ++i) block(blocks[i], configs[i]);
    keep("backbone.norm_f.weight", norm_f);
    if (!config.tied_head) linear(head, {.inputs = model_.scheme.folded_head});
    return std::move(out_);
  }

 private:
  void keep(std::string name, Tensor tensor) {
    Shape shape = tensor.shape();
    add(std::move(name), std::move(shape), [tensor = std::move(tensor), type = type_] {
      return type == DType::f32 ? tensor.to_f32() : tensor;
    });
  }
  void add(std::string name, Shape shape, std::function<Tensor()> make) {
    out_.tensors.push_back({std::move(name), std::move(shape), std::move(make)});
  }
  void linear(const LinearTensors& tensors, const Rotated& rotated) {
    add(tensors.name + ".weight", {tensors.outputs, tensors.inputs},
        [tensors, rotated, type = type_] { return as_type(float_matrix(tensors, rotated), type); });
    bias(tensors, rotated.outputs);
  }
  void bias(const LinearTensors& tensors, bool rotated) {
    if (tensors.bias.size() == 0) return;
    if (!rotated) return keep(tensors.name + ".bias", tensors.bias);
    add(tensors.name + ".bias", {tensors.outputs}, [tensors, type = type_] {
      MatrixEdit edit(tensors.bias.reshaped({tensors.outputs, 1}));
      edit.unrotate_outputs();
      return as_type(edit.tensor().reshaped({tensors.outputs}), type);
    });
  }
  /// A matrix that reads the norm of the stream, and one that writes to the stream.
  void reader(const LinearTensors& tensors, bool rotated_outputs = false) {
    linear(tensors, {.inputs = model_.scheme.rotated_stream, .outputs = rotated_outputs});
  }
  void writer(const LinearTensors& tensors, bool rotated_inputs = false) {
    linear(tensors, {.inputs = rotated_inputs, .outputs = model_.scheme.rotated_stream});
  }
  void block(const Block::Raw& raw, const BlockConfig& config) {
    keep(fmt::format("backbone.layers.{}.norm{}.weight", config.layer, config.second ? "2" : ""),
         raw.norm);
    if (raw.shared) shared_use(*raw.shared);
    for (const RawPart& part : raw.parts) {
      std::visit([this](const auto& one) { this->part(one); }, part);
    }
  }
  void part(const Attention::Raw& raw) {
    for (const LinearTensors* of : {&raw.q_proj, &raw.k_proj, &raw.v_proj}) reader(*of);
    convolution(raw.conv);
    writer(raw.o_proj);
  }
  void part(const FeedForward::Raw& raw) { feed_forward(raw, model_.scheme.rotated_down_proj); }
  void feed_forward(const FeedForward::Raw& raw, bool rotated) {
    if (raw.gate_proj.outputs > 0) reader(raw.gate_proj);
    reader(raw.up_proj);
    writer(raw.down_proj, rotated);
  }
  void part(const Experts::Raw& raw) {
    reader(raw.router);
    if (raw.correction.size() > 0) keep(raw.router.name + ".correction_bias", raw.correction);
    const bool latent = raw.latent_in.outputs > 0, turned = model_.scheme.rotated_latent;
    if (latent) reader(raw.latent_in, turned);
    for (const FeedForward::Raw& expert : raw.experts) {
      const bool rotated = model_.scheme.rotated_experts;
      latent ? inside(expert, rotated, turned) : feed_forward(expert, rotated);
    }
    if (latent) writer(raw.latent_out, turned);
    if (raw.shared) part(*raw.shared);
  }
  /// Matrices that neither read nor write the stream; `turned`: what they read and write instead.
  void inside(const FeedForward::Raw& raw, bool rotated, bool turned) {
    for (const LinearTensors* of : {&raw.gate_proj, &raw.up_proj}) {
      if (of->outputs > 0) linear(*of, {.inputs = turned});
    }
    linear(raw.down_proj, {.inputs = rotated, .outputs = turned});
  }
  void shared_block(const SharedTransformer::Raw& raw, int64_t number) {
    const std::string name = fmt::format("backbone.shared.{}.", number);
    keep(name + "norm.weight", raw.norm);
    keep(name + "norm2.weight", raw.norm2);
    const Attention::Raw& a = raw.attention;
    for (const LinearTensors* of : {&a.q_proj, &a.k_proj, &a.v_proj, &a.o_proj}) linear(*of, {});
    inside(raw.feed_forward, model_.scheme.rotated_down_proj, false);
  }
  void shared_use(const SharedTransformer::RawUse& raw) {
    for (const LinearTensors* of : {&raw.linear, &raw.down, &raw.gate_up, &raw.up_up}) {
      linear(*of, {});
    }
    for (const LinearTensors& adapter : raw.attention) linear(adapter, {});
  }
  void convolution(const ConvolutionTensors& conv) {
    if (conv.weight.size() == 0) return;
    add(conv.name + ".weight", conv.weight.shape(),
        [conv, type = type_] { return as_type(float_taps(conv), type); });
    if (conv.bias.size() > 0) keep(conv.name + ".bias", conv.bias);
  }
  /// What both mixers have.
  template <class Raw>
  void mixer(const Raw& raw, std::span<const int32_t> order) {
    const Scheme& scheme = model_.scheme;
    reader(raw.in_proj);
    convolution(raw.conv);
    keep(raw.name + "A_log", raw.A_log);
    keep(raw.name + "D", raw.D);
    linear(raw.out_proj, {.inputs = scheme.rotated_out_proj,
                          .outputs = scheme.rotated_stream,
                          .order = {order.begin(), order.end()}});
  }
  void part(const Mamba1Mixer::Raw& raw) {
    mixer(raw, {});
    linear(raw.x_proj, {});
    linear(raw.dt_proj, {});
    keep(raw.name + "dt_proj.bias", raw.dt_bias);
    for (const auto& [name, norm] : {std::pair("dt", &raw.dt_norm), std::pair("B", &raw.B_norm),
                                     std::pair("C", &raw.C_norm)}) {
      if (norm->size() > 0) keep(fmt::format("{}{}_norm.weight", raw.name, name), *norm);
    }
  }
  void part(const Mamba2Mixer::Raw& raw) {
    std::span<const int32_t> order;
    if (raw.order.size() > 0) order = raw.order.values<int32_t>();
    mixer(raw, order);
    out_.factors_type = raw.factors_type();
    keep(raw.name + "dt_bias", raw.dt_bias);
    if (raw.norm.size() > 0) keep(raw.name + "norm.weight", raw.norm);
  }

  const ModelDescription& model_;
  StoredAs type_;
  Weights weights_;
  WeightReader reader_;
  DeferredTensors out_;
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

/// All made, under the names that the family publishes, fused and stacked as there.
std::vector<NamedTensor> published(const ModelDescription& model,
                                   const std::vector<DeferredTensor>& tensors) {
  std::vector<NamedTensor> out;
  if (model.config.pure()) {
    const bool plural = model.dialect == "Hugging Face";
    for (const DeferredTensor& item : tensors) {
      const bool table = plural && item.name == "backbone.embedding.weight";
      out.push_back({table ? "backbone.embeddings.weight" : item.name, item.make()});
    }
    return out;
  }
  Weights weights(model.path);
  for (const DeferredTensor& item : tensors) weights.add(item.name, item.make());
  use_published_names(model, weights);
  for (const std::string& name : weights.names()) out.push_back({name, weights.take(name)});
  return out;
}

/// Falcon-H1's factors on in_proj's segments are a buffer in the model's type. Beside wider weights
/// the config says to what they had been rounded.
void keep_factors(const MambaConfig& config, DType type, Json& json) {
  constexpr const char* kKey = "ssm_multipliers";
  const auto held = held_in(config.segment_factors, type);
  if (json.find(kKey) == nullptr || held == config.segment_factors) return;
  json[kKey] = Json::array();
  for (const float factor : held) json[kKey].push_back(static_cast<double>(factor));
}

}  // namespace

DeferredTensors float_tensors(const ModelDescription& model, std::optional<DType> type) {
  return Exporter(model, type).run();
}

PlainModel dequantized(const ModelDescription& model, DType type) {
  if (!model.low_bit) fail(model.path, "a low-bit model (scute quantize)", "a float one");
  const DeferredTensors tensors = float_tensors(model, type);
  PlainModel out{model, published(model, tensors.tensors)};
  out.description.low_bit = false;
  out.description.scheme = {};
  out.description.json = plain_config(model.json, type);
  keep_factors(model.config, tensors.factors_type.value_or(type), out.description.json);
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
