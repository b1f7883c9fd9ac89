#include "scute/language/quantize_job.h"

#include <fmt/format.h>

#include <algorithm>

#include "scute/base/error.h"
#include "scute/language/collect.h"
#include "scute/language/gptq_checkpoint.h"
#include "scute/language/low_bit_config.h"
#include "scute/language/rotations.h"
#include "scute/language/stored_weight.h"
#include "scute/language/tokenizer_files.h"
#include "scute/models/language/check_weights.h"
#include "scute/tensor/tensor.h"

namespace scute {
namespace {

Tensor ones_like(const Tensor& tensor) {
  const std::vector<float> ones(static_cast<size_t>(tensor.size()), 1.0f);
  return stored_as(Tensor::of<float>(tensor.shape(), ones), tensor.dtype());
}

/// Of the format that was asked for, or of any part of the model.
bool any_eight_bit(const QuantizeOptions& options, const MambaConfig& config) {
  if (options.format.eight_bit_activations()) return true;
  for (const BlockConfig& block : config.all_blocks()) {
    for (const PartKind kind : block.parts) {
      const LayerFormats formats = options.of_layer(block.layer);
      const LayerFormat& format = formats.of(kind);
      if (!format.is_float() && format.eight_bit_activations()) return true;
    }
  }
  return false;
}

/// Statistics come from a file of their own: they must be of this model (by hash, where they have
/// one), and hold as many channels and elements as its sites have.
void check_statistics(const StatisticsSet& statistics, const ModelDescription& model) {
  if (recorded_model(statistics.meta, "statistics") != nullptr) {
    check_recorded_model(statistics.meta, "statistics", model.name, hash_model(model));
  }
  const SiteList sites = list_sites(model);
  for (const auto& [name, seen] : statistics.sites) {
    const Site* site = sites.find(name);
    if (site == nullptr) continue;
    const auto fits = [&, &at = name](const std::vector<float>& values, int64_t count) {
      if (values.empty() || std::ssize(values) == count) return;
      fail("statistics", fmt::format("{} magnitudes at {}", count, at),
           fmt::format("{}", values.size()));
    };
    fits(seen.channel_absmax, site->shape.back());
    fits(seen.channel_meanabs, site->shape.back());
    fits(seen.element_absmax, element_count(site->shape, name));
  }
}

}  // namespace

QuantizeJob::QuantizeJob(const ModelDescription& model, const Plan& plan,
                         const StatisticsSet* statistics, const Hessians* hessians,
                         const QuantizeOptions& options, const QuantizeRun& how,
                         LayeredHessians* layered)
    : model_(model),
      config_(model.config),
      options_(options),
      statistics_(statistics),
      hessians_(hessians),
      layered_(layered),
      threads_(how.threads),
      progress_(how.progress),
      memory_(how.memory),
      keeping_(how.keeping),
      weights_(read_weights(model)),
      scales_(plan, model) {
  if (layered != nullptr) hessians_ = &of_layer_;
  if (layered != nullptr) of_layer_.meta = hessians->meta;
  if (!memory_.tensors_in.empty()) scratch_ = std::make_unique<ScratchFile>(memory_.tensors_in);
  hash_model_beside(model);
  check_tokenizer(model);
  check_language_weights(config_, weights_);
  if (options.gptq && hessians == nullptr) {
    fail("--gptq", "texts (--data FILE) or saved Hessians (--hessians FILE)", "neither");
  }
  if (options.group_heads && config_.mixer == MixerKind::mamba1) {
    fail("--group-heads", "a Mamba-2 model", "Mamba-1, which has no heads");
  }
  if (options.group_percentile && !options.group_heads) {
    fail("--group-percentile", "--group-heads beside it", "no groups");
  }
  if (options.shared_scales && config_.mixer == MixerKind::mamba2) {
    fail("--shared-scales", "a Mamba-1 model", "Mamba-2, whose parts of in_proj have scales each");
  }
  if (options.format.is_float() && (options.embedding || options.head)) {
    fail("format", "8 or 4 bits for embedding and head", "FP");
  }
  check_kinds();
  if (statistics != nullptr) check_statistics(*statistics, model);
  if (!plan.sites.empty() && plan.meta.find("model_sha256") == nullptr) {
    remark("model not recorded in the plan: it was taken for one of " + model.name);
  }
  for (int64_t i = 0; i < config_.layers; ++i) {
    const LayerFormats formats = options.of_layer(i);
    for (const PartKind kind : kAllKinds) {
      LayerFormat::parse(formats.of(kind).name(), "format");
    }
  }
  decide_scheme();
}

void QuantizeJob::remark(const std::string& sentence) {
  if (std::ranges::find(out_.remarks, sentence) == out_.remarks.end()) {
    out_.remarks.push_back(sentence);
  }
}

void QuantizeJob::decide_scheme() {
  if (options_.hadamard && !options_.fold) {
    fail("--fold off", "--hadamard off beside it, because rotating folds the norms",
         "--hadamard on");
  }
  scheme_ = rotations(config_, options_.hadamard);
  scheme_.state_rounding = options_.state_rounding;
  scheme_.seed = options_.seed;
  scheme_.cache = options_.cache;
  if (options_.hadamard) remark_on_rotations();
  const bool a8 = any_eight_bit(options_, config_);
  folded_ = scheme_.rotated_stream || (options_.fold && !a8);
  if (options_.fold && !folded_) {
    remark("norms are not folded without rotation: in_proj:input was measured with them");
  }
}

void QuantizeJob::remark_on_rotations() {
  const auto none = [&](const char* what, int64_t width) {
    remark(
        fmt::format("{} is not rotated: its width {} is no 1, 12, 20, 28 or 40 times a power "
                    "of two",
                    what, width));
  };
  if (config_.shared.count > 0) {
    remark("the residual stream is not rotated: shared blocks read it beside the embedding");
  } else if (!scheme_.rotated_stream) {
    none("the residual stream", config_.width);
  }
  if (has_part(PartKind::mixer) && !scheme_.rotated_out_proj) {
    none("out_proj's input", config_.inner);
  }
  for (const int64_t inner : config_.feed_forward_widths()) {
    if (!can_rotate(inner)) none("down_proj's input", inner);
  }
  if (has_part(PartKind::experts) && !scheme_.rotated_experts) {
    none("the experts' down_proj's input", config_.experts.inner);
  }
  if (has_part(PartKind::experts) && config_.experts.latent > 0 && !scheme_.rotated_latent) {
    none("what latent experts read and give", config_.experts.latent);
  }
}

std::string QuantizeJob::site(int64_t layer, const char* name) const {
  return fmt::format("layer_{}.{}", layer, name);
}

std::string QuantizeJob::input_site(std::string name, bool rotated) const {
  return rotated ? name + "@rotated" : name;
}

std::vector<float> QuantizeJob::take_floats(const std::string& name) {
  return to_vector(take(name));
}

const Statistic& QuantizeJob::statistic(const std::string& name) const {
  if (statistics_ == nullptr) {
    fail("--group-heads", "statistics (--stats FILE) beside the plan", "none");
  }
  const auto found = statistics_->sites.find(name);
  if (found == statistics_->sites.end()) fail("statistics", "the site " + name, "none");
  if (found->second.nans + found->second.infs > 0) {
    fail("statistics", "finite values at " + name,
         fmt::format("{} NaN, {} infinite", found->second.nans, found->second.infs));
  }
  return found->second;
}

void QuantizeJob::keep_norm(const std::string& name, const Tensor& norm, bool folded) {
  keep(name, folded ? ones_like(norm) : norm);
}

void QuantizeJob::input_matrix(MatrixJob& job, std::vector<float> norm) const {
  if (!folded_) return;
  job.factors = std::move(norm);
  job.rotate_inputs = scheme_.rotated_stream;
}

void QuantizeJob::output_matrix(MatrixJob& job, std::vector<float> norm) const {
  job.factors = std::move(norm);
  job.rotate_inputs = scheme_.rotated_out_proj;
  job.rotate_outputs = scheme_.rotated_stream;
}

void QuantizeJob::matrix(MatrixJob job) {
  const bool scaled = !job.format.is_float() && job.format.eight_bit_activations();
  const std::string name = job.name, site = job.site;
  if (!job.format.is_float()) {
    const WeightFormat format = weight_format(job);
    if (format.bits == 4 && format.group != options_.group) {
      remark(
          fmt::format("matrices of {} inputs have 4-bit scales for {} of them instead of {}, "
                      "which does not divide {}",
                      job.weight.dim(1), format.group, options_.group, job.weight.dim(1)));
    }
    if (layered_ == nullptr && by_gptq(job)) check_hessians(job);
  }
  pending_.push_back({std::move(job), out_.tensors.size()});
  if (scaled && !site.empty()) scale(name + ".input_scale", scales_.scale(site));
}

void QuantizeJob::convolution(const std::string& name, const Tensor& weight,
                              const LayerFormat& format) {
  if (format.is_float() || !format.eight_bit_activations()) return keep(name + ".weight", weight);
  WeightFormat eight;
  if (options_.per_tensor) eight.granularity = WeightFormat::Granularity::per_tensor;
  const int64_t channels = weight.dim(0);
  const QuantizedWeight codes =
      quantize_nearest(weight.reshaped({channels, weight.dim(2)}), eight, name);
  std::vector<float> scales = to_vector(codes.scales);
  scales.resize(static_cast<size_t>(channels), scales.front());
  keep(name + ".weight", codes.codes.reshaped(weight.shape()));
  keep(name + ".weight_scale", Tensor::of<float>({channels}, scales));
}

void QuantizeJob::table() {
  const Tensor embedding = take("backbone.embedding.weight");
  const bool tied = config_.tied_head;
  const LayerFormat& format = options_.format;
  const bool quantized = options_.embedding || (tied && options_.head);
  if (tied && options_.embedding != options_.head) {
    remark(options_.embedding
               ? "embedding and head share one table: the head's weights are quantized with it"
               : "embedding and head share one table: the embedding is quantized with it");
  }
  MatrixJob job("backbone.embeddings", embedding, format, "");
  job.two_level = tied && options_.head && format.eight_bit_activations();
  if (tied && options_.head) job.hessian_sites = {"lm_head:input"};
  if (quantized) {
    matrix(std::move(job));
  } else {
    keep(job.name + ".weight", embedding);
  }
  head(format);
}

void QuantizeJob::head(const LayerFormat& format) {
  const Tensor norm = take("backbone.norm_f.weight");
  const std::vector<float> factors = to_vector(norm);
  keep_norm("backbone.norm_f.weight", norm, scheme_.folded_head);
  const std::string site = input_site("lm_head:input", scheme_.folded_head);
  if (config_.tied_head) {
    const bool eight_bit = options_.head && format.eight_bit_activations();
    if (eight_bit) scale("lm_head.input_scale", scales_.scale(site));
    return;
  }
  MatrixJob job("lm_head", take("lm_head.weight"), options_.head ? format : kFloatFormat, site);
  job.two_level = format.eight_bit_activations();
  job.hessian_sites = {"lm_head:input"};
  if (scheme_.folded_head) input_matrix(job, factors);
  matrix(std::move(job));
}

LayerFormats QuantizeJob::stored_formats(int64_t layer) const {
  const std::vector<PartKind> kinds = config_.kinds_of_layer(layer);
  LayerFormats asked = options_.of_layer(layer);
  for (const BlockConfig& block : config_.all_blocks()) {
    if (block.layer != layer || block.shared < 0) continue;
    asked.attention = shared_formats(block.shared % config_.shared.count).attention;
  }
  LayerFormats out = LayerFormats::all(kinds.empty() ? asked.mixer : asked.of(kinds.front()));
  for (const PartKind kind : kinds) out.of(kind) = asked.of(kind);
  return out;
}

LowBitModel QuantizeJob::run() {
  table();
  for (int64_t i = 0; i < config_.shared.count; ++i) shared_block(i);
  for (const BlockConfig& one : config_.all_blocks()) block(one);
  std::vector<LayerFormats> layers;
  for (int64_t i = 0; i < config_.layers; ++i) layers.push_back(stored_formats(i));
  scales_.finish();
  finish_matrices();
  remark_on_silent_experts();
  out_.description = model_;
  out_.description.low_bit = true;
  out_.description.scheme = scheme_;
  out_.plan = scales_.used();
  if (statistics_ != nullptr) out_.statistics = *statistics_;
  const bool table = options_.embedding || options_.head;
  out_.config = model_.json;
  out_.config["quantization_config"] =
      quantization_config(config_, layers, options_,
                          {table ? options_.format.weight_bits : 0,
                           options_.head && options_.format.eight_bit_activations()});
  out_.config["scute"] = scheme_to_json(scheme_, layers, stored_state_scale());
  out_.description.json = out_.config;
  out_.recipe = recipe();
  return std::move(out_);
}

/// As the tensors have it.
std::string QuantizeJob::stored_state_scale() const {
  const auto any = [this](std::string_view ending) {
    return std::ranges::any_of(
        out_.tensors, [&](const NamedTensor& item) { return item.name.ends_with(ending); });
  };
  if (any(".x_head_group_range")) return any(".ssm_state_scale") ? "grouped" : "none";
  if (any(".ssm_state_channel_scale")) return "channel";
  return any(".ssm_state_scale") ? "tensor" : "none";
}

Json QuantizeJob::recipe() const {
  Json out = Json::object();
  out["format"] = "scute-recipe";
  out["version"] = 1;
  out["tool"] = "scute " SCUTE_VERSION;
  out["model"] = model_.name;
  out["model_sha256"] = hash_model(model_);
  out["tokenizer_sha256"] = hash_tokenizer(model_);
  out["options"] = options_.to_json();
  if (scheme_.rotated_down_proj) out["rotated_down_proj"] = true;
  if (scheme_.rotated_experts) out["rotated_experts"] = true;
  if (scheme_.rotated_latent) out["rotated_latent"] = true;
  out["plan"] = out_.plan.meta;
  if (hessians_ != nullptr && options_.gptq) out["calibration"] = hessians_->meta;
  for (const auto& [name, report] : out_.gptq) {
    out["gptq"][name] = to_json(report);
  }
  out["remarks"] = Json::array();
  for (const std::string& sentence : out_.remarks) out["remarks"].push_back(sentence);
  out["edits"] = Json::array();
  return out;
}

}  // namespace scute
