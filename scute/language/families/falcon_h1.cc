// Falcon-H1: Mamba-2 and attention side by side in every layer, then a feed-forward; a factor at
// every place. Tensors are called as Bamba's.
#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "scute/base/error.h"
#include "scute/language/families/config_keys.h"
#include "scute/language/families/families.h"

namespace scute {
namespace {

/// A list of `count` factors; ones where there is none.
std::vector<float> read_factors(ConfigReader& reader, std::string_view key, size_t count) {
  std::vector<float> out(count, 1);
  const Json* list = reader.find(key);
  if (list == nullptr) return out;
  const auto& values = list->as_array(reader.at(key));
  if (values.size() != count) {
    fail(reader.at(key), fmt::format("{} factors", count), fmt::format("{}", values.size()));
  }
  for (size_t i = 0; i < count; ++i) {
    out[i] = static_cast<float>(config_number(values[i], reader.at(key)));
  }
  return out;
}

void read_factors(ConfigReader& reader, ModelDescription& out) {
  MambaConfig& c = out.config;
  c.embedding_factor = reader.real("embedding_multiplier", 1);
  c.logit_factor = reader.real("lm_head_multiplier", 1);
  c.in_factor = reader.real("ssm_in_multiplier", 1);
  c.out_factor = reader.real("ssm_out_multiplier", 1);
  c.attention.in_factor = reader.real("attention_in_multiplier", 1);
  c.attention.out_factor = reader.real("attention_out_multiplier", 1);
  c.attention.key_factor = reader.real("key_multiplier", 1);
  const std::vector<float> mlp = read_factors(reader, "mlp_multipliers", 2);
  c.feed_forward.gate_factor = mlp[0];
  c.feed_forward.out_factor = mlp[1];
  std::ranges::copy(read_factors(reader, "ssm_multipliers", 5), c.segment_factors.begin());
  if (c.segment_factors == MambaConfig().segment_factors) return;
  out.remarks.push_back(
      "ssm_multipliers are rounded to the type of the weights, as transformers does; the other "
      "multipliers are not");
}

void read_falcon_h1_mixer(ConfigReader& reader, MambaConfig& c) {
  int64_t inner = reader.has("mamba_d_ssm") ? 0 : 1024;
  if (reader.find("mamba_d_ssm") != nullptr) inner = reader.integer("mamba_d_ssm");
  // mamba_expand counts only where mamba_d_ssm is null.
  if (inner == 0) inner = reader.expanded(c.width, "mamba_expand");
  reader.find("mamba_expand");
  read_mamba2_keys(reader, inner, c);
  c.in_proj_bias = reader.flag("mamba_proj_bias", false);
  c.out_proj_bias = reader.flag("projectors_bias", false);
  const bool norm_first = reader.flag("mamba_norm_before_gate", true);
  c.gated_norm = !reader.flag("mamba_rms_norm", false) ? MambaConfig::GatedNorm::none
                 : norm_first                          ? MambaConfig::GatedNorm::norm_first
                                                       : MambaConfig::GatedNorm::gate_first;
}

void read_falcon_h1_attention(ConfigReader& reader, ModelDescription& out) {
  AttentionConfig& a = out.config.attention;
  a = read_heads(reader, 32, 8);
  set_head_width(a, reader.find("head_dim") != nullptr
                        ? reader.integer("head_dim")
                        : share_of(reader, "num_attention_heads", out.config.width, a.heads));
  read_attention_bias(reader, a);
  read_rope(reader, {}, out);
}

}  // namespace

void read_falcon_h1(ConfigReader& reader, ModelDescription& out) {
  MambaConfig& c = out.config;
  read_sizes(reader, {.width = 4096, .vocabulary = 128000}, out);
  c.norm_eps = read_epsilon(reader, {"rms_norm_eps"}, 1e-5);
  reader.require_silu("hidden_act");
  read_layer_count(reader, 32, {}, c);
  read_falcon_h1_mixer(reader, c);
  read_falcon_h1_attention(reader, out);
  c.feed_forward.bias = reader.flag("mlp_bias", false);
  read_factors(reader, out);
  const int64_t inner = reader.integer("intermediate_size", 14336);
  for (int64_t i = 0; i < c.layers; ++i) {
    add_layer(c, i, {PartKind::mixer, PartKind::attention}, PartKind::feed_forward, inner);
  }
}

}  // namespace scute
