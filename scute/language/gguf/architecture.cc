#include "scute/language/gguf/architecture.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "scute/base/error.h"
#include "scute/language/gguf/requirements.h"

namespace scute {
namespace {

constexpr const char* kGgufKnown =
    "mamba (also Falcon-Mamba), mamba2, granitehybrid (Granite 4 H, Bamba), granite, granitemoe, "
    "falcon-h1, nemotron_h, nemotron_h_moe, jamba";

bool gguf_has_part(const MambaConfig& config, PartKind part) {
  return std::ranges::any_of(config.all_blocks(), [&](const auto& b) { return b.has(part); });
}

std::string gguf_name(const ModelDescription& model) {
  const MambaConfig& c = model.config;
  const std::string& family = model.family;
  const bool experts = gguf_has_part(c, PartKind::experts);
  if (family == "jamba") return "jamba";
  if (family == "falcon_h1") return "falcon-h1";
  if (family == "nemotron_h") return experts ? "nemotron_h_moe" : "nemotron_h";
  if (family == "bamba" || family == "granitemoehybrid") {
    if (gguf_has_part(c, PartKind::mixer)) return "granitehybrid";
    return experts ? "granitemoe" : "granite";
  }
  if (c.pure()) return c.mixer == MixerKind::mamba1 ? "mamba" : "mamba2";
  const std::string found = family.empty()       ? "state-spaces' attention or MLP layers"
                            : family == "mamba2" ? "mamba2 with other layers"
                                                 : family;
  fail(model.name + ": --gguf", fmt::format("one of the format's architectures: {}", kGgufKnown),
       found);
}

/// Fills in the keys, each under the architecture's name.
class GgufKeyWriter {
 public:
  GgufKeyWriter(const ModelDescription& model, GgufArchitecture& out)
      : model_(model), c_(model.config), out_(out), blocks_(c_.all_blocks()) {}

  void write() {
    sizes();
    if (gguf_has_part(c_, PartKind::mixer)) mixers();
    if (gguf_has_part(c_, PartKind::attention)) attention();
    feed_forwards();
    if (out_.keeps_factors) factors();
  }

 private:
  template <class T>
  void add(const char* key, T value) {
    out_.keys.emplace_back(fmt::format("{}.{}", out_.name, key), GgufValue(std::move(value)));
  }
  void count(const char* key, int64_t value) { add(key, static_cast<uint32_t>(value)); }

  /// `value` of each layer that has the part, 0 of others.
  template <class F>
  std::vector<int32_t> by_layer(PartKind part, F value) const {
    std::vector<int32_t> out(static_cast<size_t>(c_.layers), 0);
    for (const BlockConfig& block : blocks_) {
      if (!block.has(part)) continue;
      out[static_cast<size_t>(block.layer)] = static_cast<int32_t>(value(block));
    }
    return out;
  }
  bool nemotron() const { return out_.name.starts_with("nemotron_h"); }

  void sizes() {
    // The default of llama.cpp's tools for models that have no limit.
    int64_t context = int64_t{1} << 20;
    if (const Json* given =
            model_.json.is_object() ? model_.json.find("max_position_embeddings") : nullptr;
        given != nullptr && given->is_int()) {
      context = std::clamp<int64_t>(given->as_int(""), 1, int64_t{1} << 30);
    }
    count("context_length", context);
    count("embedding_length", c_.width);
    count("block_count", c_.layers);
    count("vocab_size", c_.vocabulary);
    add("attention.layer_norm_rms_epsilon", c_.norm_eps);
    if (nemotron()) add("attention.layer_norm_epsilon", c_.norm_eps);
  }

  void mixers() {
    count("ssm.conv_kernel", c_.taps);
    count("ssm.inner_size", c_.inner);
    count("ssm.state_size", c_.state);
    const bool second = c_.mixer == MixerKind::mamba2;
    count("ssm.time_step_rank", second ? c_.heads : c_.dt_rank);
    if (second) count("ssm.group_count", c_.groups);
    if (out_.name == "mamba") {
      add("ssm.dt_b_c_rms", c_.inner_norms == MambaConfig::InnerNorms::plain);
      count("attention.head_count", 0);
    } else if (out_.name == "mamba2") {
      count("attention.head_count", 0);
    }
  }

  void attention() {
    const AttentionConfig& a = c_.attention;
    count("attention.head_count", a.heads);
    const auto keys = by_layer(PartKind::attention, [&](auto&) { return a.key_heads; });
    if (std::ranges::count(keys, 0) == 0) {
      count("attention.head_count_kv", a.key_heads);
    } else {
      add("attention.head_count_kv", keys);
    }
    count("attention.key_length", a.head_width);
    count("attention.value_length", a.head_width);
    if (out_.name.starts_with("granite")) {
      add("attention.scale", a.scale);
      add("rope.scaling.finetuned", a.rotated > 0);
    }
    if (a.rotated == 0) return;
    count("rope.dimension_count", a.rotated);
    add("rope.freq_base", static_cast<float>(a.theta));
  }

  void feed_forwards() {
    const ExpertsConfig& e = c_.experts;
    const bool experts = gguf_has_part(c_, PartKind::experts);
    const auto dense = by_layer(PartKind::feed_forward, [](auto& b) { return b.inner; });
    if (nemotron()) {
      add("feed_forward_length",
          experts ? by_layer(PartKind::experts, [&](auto&) { return e.inner; }) : dense);
    } else {
      count("feed_forward_length", experts ? e.inner : *std::ranges::max_element(dense));
    }
    if (!experts) return;
    count("expert_count", e.count);
    count("expert_used_count", e.chosen);
    if (e.shared_inner > 0) count("expert_shared_feed_forward_length", e.shared_inner);
    if (!nemotron()) return;
    count("expert_feed_forward_length", e.inner);
    count("expert_shared_count", 1);
    add("expert_weights_norm", e.normalized);
    add("expert_weights_scale", e.scaling);
    count("expert_group_count", e.groups);
    if (e.groups > 1) count("expert_group_used_count", e.kept);
    if (e.latent > 0) count("moe_latent_size", e.latent);
  }

  void factors() {
    add("embedding_scale", c_.embedding_factor);
    add("residual_scale", c_.residual_factor);
    add("logit_scale", 1 / c_.logit_factor);
  }

  const ModelDescription& model_;
  const MambaConfig& c_;
  GgufArchitecture& out_;
  std::vector<BlockConfig> blocks_;
};

}  // namespace

float gguf_x_proj_factor(const MambaConfig& config) {
  if (config.inner_norms != MambaConfig::InnerNorms::plain) return 1;
  return static_cast<float>(
      std::sqrt(static_cast<double>(config.norm_eps) / static_cast<double>(config.inner_eps)));
}

GgufArchitecture gguf_architecture(const ModelDescription& model) {
  GgufArchitecture out;
  out.name = gguf_name(model);
  require_gguf_numbers(model, out.name);
  out.keeps_factors = out.name.starts_with("granite");
  out.pairs_beside = out.keeps_factors && model.config.attention.rotated > 0;
  GgufKeyWriter(model, out).write();
  if (const float factor = gguf_x_proj_factor(model.config); factor != 1) {
    out.remarks.push_back(
        fmt::format("the norms of dt, B and C have an epsilon of their own, {}, for which GGUF has "
                    "no key: x_proj is stored times {}, which makes {} the same",
                    model.config.inner_eps, factor, model.config.norm_eps));
  }
  return out;
}

}  // namespace scute
