// Granite 4.0: Mamba-2 or attention, each with a feed-forward or with experts, and four factors.
#include <fmt/format.h>

#include <array>

#include "scute/base/error.h"
#include "scute/language/families/config_keys.h"
#include "scute/language/families/families.h"
#include "scute/language/families/tensor_names.h"

namespace scute {
namespace {

void read_granite_attention(ConfigReader& reader, ModelDescription& out) {
  AttentionConfig& a = out.config.attention;
  a = read_heads(reader, 32, 0);
  use_head_share(reader, out.config.width, a);
  a.scale = reader.real("attention_multiplier", 1);
  read_attention_bias(reader, a);
  const Json* position = reader.find("position_embedding_type");
  const std::string where = reader.at("position_embedding_type");
  const std::string kind = position == nullptr ? "nope" : position->as_string(where);
  if (kind == "rope") return read_rope(reader, {}, out);
  // Rope's keys are there all the same, and count for nothing.
  if (kind != "nope") fail(where, "rope, nope or null", fmt::format("\"{}\"", kind));
}

/// Returns the width of the dense feed-forward, 0 where there are experts.
int64_t read_granite_experts(ConfigReader& reader, MambaConfig& c) {
  const int64_t shared = reader.integer("shared_intermediate_size", 1024);
  const int64_t experts = reader.integer("num_local_experts", 8);
  if (experts == 0) return shared;
  c.experts.count = experts;
  c.experts.chosen = reader.integer("num_experts_per_tok", 2);
  c.experts.inner = reader.integer("intermediate_size", 11008);
  c.experts.shared_inner = shared;
  c.experts.routing = ExpertsConfig::Routing::softmax_of_chosen;
  return 0;
}

/// The MLP that every token goes through is the only one, or beside experts the shared one.
std::array<NamePair, 6> granite_names(const MambaConfig& config) {
  const bool routed = config.experts.count > 0;
  return {NamePair{"input_layernorm.", "norm."},
          {"post_attention_layernorm.", "norm2."},
          {"mamba.", "mixer."},
          {"self_attn.", "attention."},
          {"shared_mlp.output_linear.", routed ? "mlp.shared.down_proj." : "mlp.down_proj."},
          {"block_sparse_moe.router.layer.", "mlp.router."}};
}

/// Tensors of a layer that hold several of ours.
struct GraniteFused {
  GraniteFused(const MambaConfig& config, int64_t i) {
    const std::string layer = fmt::format("backbone.layers.{}.", i);
    const std::string to = layer + (config.experts.count > 0 ? "mlp.shared." : "mlp.");
    shared = layer + "shared_mlp.input_linear";
    shared_parts = {to + "gate_proj", to + "up_proj"};
    moe = layer + "block_sparse_moe.";
    experts = layer + "mlp.experts.";
  }
  std::string shared, moe, experts;
  std::array<std::string, 2> shared_parts;
};
const std::array<std::string, 2> kGraniteGated{"gate_proj", "up_proj"};
const std::array<std::string, 1> kGraniteDown{"down_proj"};

float inverse_of(ConfigReader& reader, std::string_view key) {
  const double value = reader.number(key, 1);
  if (!(value > 0)) fail(reader.at(key), "above 0", fmt::format("{}", value));
  return static_cast<float>(1 / value);
}

}  // namespace

void read_granite(ConfigReader& reader, ModelDescription& out) {
  MambaConfig& c = out.config;
  read_sizes(reader, {.width = 4096, .vocabulary = 32000}, out);
  c.norm_eps = read_epsilon(reader, {"rms_norm_eps"}, 1e-6);
  reader.require_silu("hidden_act");
  reader.require_word("normalization_function", "rmsnorm");
  c.embedding_factor = reader.real("embedding_multiplier", 1);
  c.residual_factor = reader.real("residual_multiplier", 1);
  c.logit_factor = inverse_of(reader, "logits_scaling");
  std::vector<LayerKind> kinds = read_layer_kinds(reader, {LayerKind::mixer, LayerKind::attention});
  read_layer_count(reader, 32, kinds, c);
  kinds.resize(static_cast<size_t>(c.layers), LayerKind::mixer);
  c.mixer = MixerKind::mamba2;
  // The models without a mixer carry mamba_* keys that fit nothing.
  if (holds(kinds, LayerKind::mixer)) {
    read_mamba2_keys(reader, reader.expanded(c.width, "mamba_expand"), c);
    c.in_proj_bias = c.out_proj_bias = reader.flag("mamba_proj_bias", false);
  }
  if (holds(kinds, LayerKind::attention)) read_granite_attention(reader, out);
  const int64_t inner = read_granite_experts(reader, c);
  const PartKind second = c.experts.count != 0 ? PartKind::experts : PartKind::feed_forward;
  for (int64_t i = 0; i < c.layers; ++i) {
    const bool attends = kinds[static_cast<size_t>(i)] == LayerKind::attention;
    add_layer(c, i, {attends ? PartKind::attention : PartKind::mixer}, second, inner);
  }
}

std::vector<std::string> rename_granite(const MambaConfig& config, Weights& weights) {
  rename_layers(weights, granite_names(config));
  for (int64_t i = 0; i < config.layers; ++i) {
    const GraniteFused at(config, i);
    split_rows(weights, at.shared, at.shared_parts);
    split_stack(weights, at.moe + "input_linear", at.experts, kGraniteGated);
    split_stack(weights, at.moe + "output_linear", at.experts, kGraniteDown);
  }
  return {};
}

void publish_granite(const MambaConfig& config, Weights& weights) {
  for (int64_t i = 0; i < config.layers; ++i) {
    const GraniteFused at(config, i);
    join_rows(weights, at.shared_parts, at.shared);
    join_stack(weights, at.experts, kGraniteGated, at.moe + "input_linear");
    join_stack(weights, at.experts, kGraniteDown, at.moe + "output_linear");
  }
  publish_layers(weights, granite_names(config));
}

}  // namespace scute
