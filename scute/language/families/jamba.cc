// Jamba: Mamba-1 with norms of dt, B and C, or attention, each with a feed-forward or experts.
#include <fmt/format.h>

#include <array>

#include "scute/base/error.h"
#include "scute/language/families/config_keys.h"
#include "scute/language/families/families.h"
#include "scute/language/families/tensor_names.h"

namespace scute {
namespace {

constexpr auto kJambaNames = std::to_array<NamePair>({{"input_layernorm.", "norm."},
                                                      {"pre_ff_layernorm.", "norm2."},
                                                      {"mamba.dt_layernorm.", "mixer.dt_norm."},
                                                      {"mamba.b_layernorm.", "mixer.B_norm."},
                                                      {"mamba.c_layernorm.", "mixer.C_norm."},
                                                      {"mamba.", "mixer."},
                                                      {"self_attn.", "attention."},
                                                      {"feed_forward.", "mlp."},
                                                      {"moe.", "mlp."}});  // the first releases

/// Layers i with i mod period = offset.
struct EveryNth {
  int64_t period, offset;
  bool operator()(int64_t layer) const { return layer % period == offset; }
};

EveryNth read_every(ConfigReader& reader, const std::string& kind, const EveryNth& otherwise) {
  const std::string period = kind + "_layer_period", offset = kind + "_layer_offset";
  const EveryNth out{reader.integer(period, otherwise.period),
                     reader.integer(offset, otherwise.offset)};
  if (out.period < 1) fail(reader.at(period), "at least 1", fmt::format("{}", out.period));
  if (out.offset < 0 || out.offset >= out.period) {
    fail(reader.at(offset), fmt::format("from 0 to {}, below the period", out.period - 1),
         fmt::format("{}", out.offset));
  }
  return out;
}

std::vector<LayerKind> read_jamba_layers(ConfigReader& reader, MambaConfig& c) {
  const auto listed = read_layer_kinds(reader, {LayerKind::mixer, LayerKind::attention});
  read_layer_count(reader, 32, listed, c);
  const EveryNth attends = read_every(reader, "attn", {.period = 8, .offset = 4});
  std::vector<LayerKind> out;
  for (int64_t i = 0; i < c.layers; ++i) {
    out.push_back(attends(i) ? LayerKind::attention : LayerKind::mixer);
  }
  if (!listed.empty() && listed != out) {
    fail(reader.at("attn_layer_period"), "the attention layers of the list of layers", "others");
  }
  return out;
}

void read_jamba_mixer(ConfigReader& reader, MambaConfig& c) {
  c.mixer = MixerKind::mamba1;
  c.inner = reader.expanded(c.width, "mamba_expand");
  c.state = reader.integer("mamba_d_state", 16);
  c.taps = reader.integer("mamba_d_conv", 4);
  c.dt_rank = reader.integer_or_auto("mamba_dt_rank", ceil_div(c.width, 16));
  c.conv_bias = reader.flag("mamba_conv_bias", true);
  c.in_proj_bias = c.out_proj_bias = reader.flag("mamba_proj_bias", false);
  reader.require("mamba_inner_layernorms", true);
  c.inner_norms = MambaConfig::InnerNorms::weighted;
  c.inner_eps = c.norm_eps;
}

}  // namespace

void read_jamba(ConfigReader& reader, ModelDescription& out) {
  MambaConfig& c = out.config;
  read_sizes(reader, {.width = 4096, .vocabulary = 65536}, out);
  c.norm_eps = read_epsilon(reader, {"rms_norm_eps"}, 1e-6);
  reader.require_silu("hidden_act");
  const std::vector<LayerKind> kinds = read_jamba_layers(reader, c);
  if (holds(kinds, LayerKind::mixer)) read_jamba_mixer(reader, c);
  if (holds(kinds, LayerKind::attention)) {
    c.attention = read_heads(reader, 32, 8);
    use_head_share(reader, c.width, c.attention);
  }
  const EveryNth routed = read_every(reader, "expert", {.period = 2, .offset = 1});
  const int64_t experts = reader.integer("num_experts", 16);
  const int64_t inner = reader.integer("intermediate_size", 14336);
  const int64_t chosen = reader.integer("num_experts_per_tok", 2);
  for (int64_t i = 0; i < c.layers; ++i) {
    const bool attends = kinds[static_cast<size_t>(i)] == LayerKind::attention;
    const bool several = experts > 1 && routed(i);
    if (several) {
      c.experts = {.count = experts,
                   .chosen = chosen,
                   .inner = inner,
                   .routing = ExpertsConfig::Routing::softmax};
    }
    add_layer(c, i, {attends ? PartKind::attention : PartKind::mixer},
              several ? PartKind::experts : PartKind::feed_forward, inner);
  }
}

std::vector<std::string> rename_jamba(const MambaConfig& config, Weights& weights) {
  rename_layers(weights, kJambaNames);
  // The first releases kept a dense feed-forward as the only expert.
  for (const BlockConfig& block : config.blocks) {
    if (block.parts.front() != PartKind::feed_forward) continue;
    rename_after(weights, fmt::format("backbone.layers.{}.", block.layer),
                 std::array{NamePair{"mlp.experts.0.", "mlp."}});
  }
  return {};
}

void publish_jamba(const MambaConfig&, Weights& weights) { publish_layers(weights, kJambaNames); }

}  // namespace scute
