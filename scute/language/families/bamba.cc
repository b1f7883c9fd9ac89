// Bamba: Mamba-2 or attention with half its dimensions rotated, each with a feed-forward.
#include <fmt/format.h>

#include <array>

#include "scute/base/error.h"
#include "scute/language/families/config_keys.h"
#include "scute/language/families/families.h"
#include "scute/language/families/tensor_names.h"

namespace scute {
namespace {

constexpr auto kBambaNames = std::to_array<NamePair>({{"input_layernorm.", "norm."},
                                                      {"pre_ff_layernorm.", "norm2."},
                                                      {"mamba.", "mixer."},
                                                      {"self_attn.", "attention."},
                                                      {"feed_forward.", "mlp."}});

std::vector<LayerKind> read_bamba_layers(ConfigReader& reader, MambaConfig& c) {
  std::vector<LayerKind> kinds = read_layer_kinds(reader, {LayerKind::mixer, LayerKind::attention});
  read_layer_count(reader, 32, kinds, c);
  if (const Json* indices = reader.find("attn_layer_indices")) {
    // As transformers 4 wrote them.
    const auto named = read_attention_layers(reader, "attn_layer_indices", c.layers);
    if (!kinds.empty() && named != kinds) {
      fail(reader.at("attn_layer_indices"), "the layers that the list of layers calls attention",
           indices->dump());
    }
    return named;
  }
  kinds.resize(static_cast<size_t>(c.layers), LayerKind::mixer);
  return kinds;
}

void read_bamba_attention(ConfigReader& reader, ModelDescription& out) {
  AttentionConfig& a = out.config.attention;
  a = read_heads(reader, 32, 8);
  use_head_share(reader, out.config.width, a);
  read_attention_bias(reader, a);
  // The library's class rotates half of a head, whatever the file says.
  read_rope(reader, {.partial = 0.5, .fixed = true}, out);
  reader.require_same("attn_rotary_emb", static_cast<double>(a.rotated),
                      "half of an attention head");
}

}  // namespace

void read_bamba(ConfigReader& reader, ModelDescription& out) {
  MambaConfig& c = out.config;
  read_sizes(reader, {.width = 4096, .vocabulary = 128000}, out);
  c.norm_eps = read_epsilon(reader, {"rms_norm_eps"}, 1e-5);
  reader.require_silu("hidden_act");
  const std::vector<LayerKind> kinds = read_bamba_layers(reader, c);
  c.mixer = MixerKind::mamba2;
  if (holds(kinds, LayerKind::mixer)) {
    read_mamba2_keys(reader, reader.expanded(c.width, "mamba_expand"), c);
    c.in_proj_bias = c.out_proj_bias = reader.flag("mamba_proj_bias", false);
  }
  if (holds(kinds, LayerKind::attention)) read_bamba_attention(reader, out);
  c.feed_forward.bias = reader.flag("mlp_bias", false);
  const int64_t inner = reader.integer("intermediate_size", 14336);
  for (int64_t i = 0; i < c.layers; ++i) {
    const bool attends = kinds[static_cast<size_t>(i)] == LayerKind::attention;
    add_layer(c, i, {attends ? PartKind::attention : PartKind::mixer}, PartKind::feed_forward,
              inner);
  }
}

std::vector<std::string> rename_bamba(const MambaConfig&, Weights& weights) {
  rename_layers(weights, kBambaNames);
  return {};
}

void publish_bamba(const MambaConfig&, Weights& weights) { publish_layers(weights, kBambaNames); }

}  // namespace scute
