// state-spaces' own dialect: mamba_ssm's MambaConfig, with attention and MLPs. Knows no model_type.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <span>

#include "scute/base/checked.h"
#include "scute/base/error.h"
#include "scute/language/families/config_keys.h"
#include "scute/language/families/families.h"
#include "scute/language/families/tensor_names.h"

namespace scute {
namespace {

/// mamba_ssm's MLP rounds its width up to a multiple of this.
constexpr int64_t kMlpMultiple = 128;

/// Keys of ssm_cfg that one of the mixers has and the other has not.
void refuse_keys_of_the_other(ConfigReader& ssm, MixerKind mixer) {
  constexpr std::array<std::string_view, 1> kOne = {"dt_rank"};
  constexpr std::array<std::string_view, 7> kTwo = {
      "headdim", "ngroups", "d_ssm", "D_has_hdim", "rmsnorm", "norm_before_gate", "dt_limit"};
  const bool one = mixer == MixerKind::mamba1;
  for (const std::string_view key : one ? std::span<const std::string_view>(kTwo) : kOne) {
    if (const Json* value = ssm.find(key)) {
      fail(ssm.at(key),
           fmt::format("no such key in a {} model (\"layer\" says which it is)",
                       one ? "Mamba1" : "Mamba2"),
           value->dump());
    }
  }
}

/// What numbers depend on may stand there in Hugging Face's words too, but not say something else.
void require_agreement(ConfigReader& reader, const MambaConfig& c) {
  constexpr std::string_view kBecause =
      "as the state-spaces dialect says (\"model_type\": \"mamba\" or \"mamba2\" and "
      "\"hidden_size\" would make it Hugging Face's)";
  reader.require_silu("hidden_act");
  for (const char* key : {"layer_norm_epsilon", "norm_epsilon", "norm_eps", "rms_norm_eps"}) {
    reader.require_same(key, static_cast<double>(c.norm_eps), kBecause);
  }
  const auto same = [&](std::string_view key, int64_t value) {
    reader.require_same(key, static_cast<double>(value), kBecause);
  };
  same("use_bias", c.in_proj_bias ? 1 : 0);
  same("norm_before_gate", 0);
  same("use_conv_bias", c.conv_bias ? 1 : 0);
  same("tie_word_embeddings", c.tied_head ? 1 : 0);
  same("hidden_size", c.width);
  same("num_hidden_layers", c.layers);
  same("intermediate_size", c.inner);
  same("state_size", c.state);
  same("conv_kernel", c.taps);
  reader.require_same("expand", static_cast<double>(c.inner) / static_cast<double>(c.width),
                      kBecause);
  if (c.mixer == MixerKind::mamba1) return same("time_step_rank", c.dt_rank);
  same("num_heads", c.heads);
  same("head_dim", c.head_width);
  same("n_groups", c.groups);
  MambaConfig limited = c;
  read_limits(reader, "time_step_limit", limited);
  if (reader.find("time_step_limit") != nullptr &&
      (limited.dt_min != c.dt_min || limited.dt_max != c.dt_max)) {
    fail(reader.at("time_step_limit"),
         fmt::format("[{}, {}], ssm_cfg's dt_limit", c.dt_min, c.dt_max),
         reader.find("time_step_limit")->dump());
  }
}

void read_ssm(ConfigReader& ssm, MambaConfig& c) {
  const std::string layer = ssm.text("layer", "Mamba1");
  if (layer.find("QMamba") != layer.npos) {
    fail(ssm.at("layer"), "Mamba1 or Mamba2, float weights",
         layer + ": weights quantized by another tool, Quamba; quantize the float model instead");
  }
  if (layer != "Mamba1" && layer != "Mamba2") fail(ssm.at("layer"), "Mamba1 or Mamba2", layer);
  c.mixer = layer == "Mamba1" ? MixerKind::mamba1 : MixerKind::mamba2;
  refuse_keys_of_the_other(ssm, c.mixer);
  c.in_proj_bias = c.out_proj_bias = ssm.flag("bias", false);
  ssm.require_silu("activation");
  c.conv_bias = ssm.flag("conv_bias", true);
  c.taps = ssm.integer("d_conv", 4);
  c.inner = ssm.expanded(c.width);
  if (c.mixer == MixerKind::mamba1) {
    c.state = ssm.integer("d_state", 16);
    c.dt_rank = ssm.integer_or_auto("dt_rank", ceil_div(c.width, 16));
    return;
  }
  c.state = ssm.integer("d_state", 128);
  c.head_width = ssm.integer("headdim", 64);
  c.groups = ssm.integer("ngroups", 1);
  c.heads = share_of(ssm, "headdim", c.inner, c.head_width);
  c.D_per_channel = ssm.flag("D_has_hdim", false);
  ssm.require("rmsnorm", true);
  ssm.require("norm_before_gate", false);
  if (ssm.integer("d_ssm", c.inner) != c.inner) {
    fail(ssm.at("d_ssm"), fmt::format("the inner width {}", c.inner),
         fmt::format("{}", ssm.integer("d_ssm")));
  }
  read_limits(ssm, "dt_limit", c);
}

/// attn_cfg, the arguments of mamba_ssm's MHA.
void read_attention(ConfigReader& reader, MambaConfig& c) {
  if (!reader.flag("causal", false)) {
    fail(reader.at("causal"), "true in a model with attention (attn_layer_idx)",
         reader.has("causal") ? "false" : "nothing, which means false");
  }
  AttentionConfig& a = c.attention;
  a.heads = reader.integer("num_heads");
  a.key_heads = reader.find("num_heads_kv") == nullptr ? a.heads : reader.integer("num_heads_kv");
  set_head_width(a, reader.find("head_dim") == nullptr
                        ? share_of(reader, "num_heads", c.width, a.heads)
                        : reader.integer("head_dim"));
  if (reader.find("softmax_scale") != nullptr) a.scale = reader.real("softmax_scale", 0);
  a.qkv_bias = reader.flag("qkv_proj_bias", true);
  a.out_bias = reader.flag("out_proj_bias", true);
  a.taps = reader.integer("d_conv", 0);
  a.rotated = reader.integer("rotary_emb_dim", 0);
  a.theta = reader.number("rotary_emb_base", a.theta);
  reader.require("rotary_emb_interleaved", false);
  reader.require_nothing("mlp_dim");  // an MLP fused into the projections
}

void read_blocks(ConfigReader& reader, ConfigReader& attention, MambaConfig& c) {
  const auto kinds = read_attention_layers(reader, "attn_layer_idx", c.layers);
  const int64_t mlp = reader.integer("d_intermediate", 0);
  constexpr int64_t kMost = int64_t{1} << 30;
  if (mlp < 0 || mlp > kMost) {
    fail(reader.at("d_intermediate"), fmt::format("from 0 to {}", kMost), fmt::format("{}", mlp));
  }
  const bool any = holds(kinds, LayerKind::attention);
  if (any) read_attention(attention, c);
  if (!any && mlp == 0) return;
  for (int64_t i = 0; i < c.layers; ++i) {
    const bool attends = kinds[static_cast<size_t>(i)] == LayerKind::attention;
    const PartKind part = attends ? PartKind::attention : PartKind::mixer;
    if (mlp > 0) {
      add_layer(c, i, {part}, PartKind::feed_forward, ceil_div(mlp, kMlpMultiple) * kMlpMultiple);
    } else {
      c.blocks.push_back({.layer = i, .parts = {part}});
    }
  }
}

constexpr std::array kMlpNames{NamePair{"mlp.fc2.", "mlp.down_proj."}};
constexpr std::array kAttentionNames{NamePair{"mixer.out_proj.", "attention.o_proj."},
                                     NamePair{"mixer.conv1d.", "attention.conv1d."}};

/// Tensors of a layer that hold several of ours.
struct StateSpacesFused {
  explicit StateSpacesFused(int64_t i) : layer(fmt::format("backbone.layers.{}.", i)) {}

  std::string layer, fc1 = layer + "mlp.fc1", qkv = layer + "mixer.in_proj";
  std::array<std::string, 2> fc1_parts{layer + "mlp.up_proj", layer + "mlp.gate_proj"};
  std::array<std::string, 3> qkv_parts{layer + "attention.q_proj", layer + "attention.k_proj",
                                       layer + "attention.v_proj"};
};

}  // namespace

void read_state_spaces(ConfigReader& reader, ModelDescription& out) {
  MambaConfig& c = out.config;
  c.width = reader.integer("d_model");
  c.layers = reader.integer("n_layer");
  require_layer_count(reader, "n_layer", c.layers);
  out.vocabulary_unpadded = reader.integer("vocab_size");
  const int64_t multiple = reader.integer("pad_vocab_size_multiple", 8);
  if (multiple < 1)
    fail(reader.at("pad_vocab_size_multiple"), "at least 1", fmt::format("{}", multiple));
  c.vocabulary = checked_mul(ceil_div(out.vocabulary_unpadded, multiple), multiple, reader.where());
  c.tied_head = reader.flag("tie_embeddings", true);
  reader.require("rms_norm", true);
  for (const char* key : {"bidirectional", "rcps"}) reader.require(key, false);  // Caduceus

  ConfigReader ssm = reader.object("ssm_cfg"), attention = reader.object("attn_cfg");
  read_ssm(ssm, c);
  read_blocks(reader, attention, c);
  require_agreement(reader, c);
  remark_on_residual(reader, out);
  for (const std::string& key : ssm.unread()) out.ignored.push_back("ssm_cfg." + key);
  for (const std::string& key : attention.unread()) out.ignored.push_back("attn_cfg." + key);
}

std::vector<std::string> rename_state_spaces(const MambaConfig& config, Weights& weights) {
  for (const BlockConfig& block : config.blocks) {
    const StateSpacesFused at(block.layer);
    if (block.second) {
      split_rows(weights, at.fc1, at.fc1_parts);
      rename_after(weights, at.layer, kMlpNames);
    } else if (block.parts.front() == PartKind::attention) {
      const AttentionConfig& a = config.attention;
      const int64_t keys = a.key_heads * a.head_width;
      split_rows(weights, at.qkv, at.qkv_parts, std::array{a.heads * a.head_width, keys, keys});
      rename_after(weights, at.layer, kAttentionNames);
    }
  }
  return {};
}

void publish_state_spaces(const MambaConfig& config, Weights& weights) {
  for (const BlockConfig& block : config.blocks) {
    const StateSpacesFused at(block.layer);
    if (block.second) {
      join_rows(weights, at.fc1_parts, at.fc1);
      publish_after(weights, at.layer, kMlpNames);
    } else if (block.parts.front() == PartKind::attention) {
      join_rows(weights, at.qkv_parts, at.qkv);
      publish_after(weights, at.layer, kAttentionNames);
    }
  }
}

}  // namespace scute
