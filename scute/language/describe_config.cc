// config.json in the two dialects.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <limits>
#include <span>

#include "scute/base/checked.h"
#include "scute/base/error.h"
#include "scute/language/config_reader.h"
#include "scute/language/low_bit_config.h"
#include "scute/language/model_folder.h"

namespace scute {
namespace {

int64_t ceil_div(int64_t a, int64_t b) { return a / b + (a % b != 0 ? 1 : 0); }

/// [least, most] of the time step, from an array of two numbers; null is no limit.
void read_limits(ConfigReader& reader, std::string_view key, MambaConfig& config) {
  const Json* value = reader.find(key);
  if (value == nullptr) return;
  const std::string where = reader.at(key);
  const auto& pair = value->as_array(where);
  if (pair.size() != 2) fail(where, "two numbers", fmt::format("{}", pair.size()));
  const double least = pair[0].is_null() ? 0 : config_number(pair[0], where);
  // A time step is a softplus, so never below 0.
  if (least != -std::numeric_limits<double>::infinity()) config.dt_min = static_cast<float>(least);
  if (!pair[1].is_null()) config.dt_max = static_cast<float>(config_number(pair[1], where));
}

int64_t divide(const std::string& where, int64_t inner, int64_t head_width) {
  if (head_width < 1 || inner % head_width != 0) {
    fail(where, fmt::format("a head width that divides the inner width {}", inner),
         fmt::format("{}", head_width));
  }
  return inner / head_width;
}

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
  reader.require_silu("hidden_act");
  for (const char* key : {"layer_norm_epsilon", "norm_epsilon", "norm_eps", "rms_norm_eps"}) {
    reader.require_same(key, static_cast<double>(c.norm_eps));
  }
  const auto same = [&](std::string_view key, int64_t value) {
    reader.require_same(key, static_cast<double>(value));
  };
  same("use_bias", 0);
  same("norm_before_gate", 0);
  same("use_conv_bias", c.conv_bias ? 1 : 0);
  same("tie_word_embeddings", c.tied_head ? 1 : 0);
  same("hidden_size", c.width);
  same("num_hidden_layers", c.layers);
  same("intermediate_size", c.inner);
  same("state_size", c.state);
  same("conv_kernel", c.taps);
  reader.require_same("expand", static_cast<double>(c.inner) / static_cast<double>(c.width));
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

void read_state_spaces_ssm(ConfigReader& ssm, MambaConfig& c) {
  const std::string layer = ssm.text("layer", "Mamba1");
  if (layer.find("QMamba") != layer.npos) {
    fail(ssm.at("layer"), "Mamba1 or Mamba2, float weights",
         layer + ": weights quantized by another tool, Quamba; quantize the float model instead");
  }
  if (layer != "Mamba1" && layer != "Mamba2") fail(ssm.at("layer"), "Mamba1 or Mamba2", layer);
  c.mixer = layer == "Mamba1" ? MixerKind::mamba1 : MixerKind::mamba2;
  refuse_keys_of_the_other(ssm, c.mixer);
  ssm.require("bias", false);
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
  c.heads = divide(ssm.at("headdim"), c.inner, c.head_width);
  c.D_per_channel = ssm.flag("D_has_hdim", false);
  ssm.require("rmsnorm", true);
  ssm.require("norm_before_gate", false);
  if (ssm.integer("d_ssm", c.inner) != c.inner) {
    fail(ssm.at("d_ssm"), fmt::format("the inner width {}", c.inner),
         fmt::format("{}", ssm.integer("d_ssm")));
  }
  read_limits(ssm, "dt_limit", c);
}

/// In f32, in which this engine sums, the option changes nothing.
void remark_on_residual(ConfigReader& reader, ModelDescription& out) {
  if (reader.flag("residual_in_fp32", true)) return;
  out.remarks.push_back(
      "residual_in_fp32 false has no effect: the residual stream is summed in f32");
}

void read_state_spaces(const Json& json, const std::string& where, ModelDescription& out) {
  ConfigReader reader(json, where);
  MambaConfig& c = out.config;
  c.width = reader.integer("d_model");
  c.layers = reader.integer("n_layer");
  out.vocabulary_unpadded = reader.integer("vocab_size");
  const int64_t multiple = reader.integer("pad_vocab_size_multiple", 8);
  if (multiple < 1)
    fail(reader.at("pad_vocab_size_multiple"), "at least 1", fmt::format("{}", multiple));
  c.vocabulary = checked_mul(ceil_div(out.vocabulary_unpadded, multiple), multiple, where);
  c.tied_head = reader.flag("tie_embeddings", true);
  reader.require("rms_norm", true);
  if (reader.integer("d_intermediate", 0) != 0) {
    fail(reader.at("d_intermediate"), "0 (no MLP)",
         fmt::format("{}", reader.integer("d_intermediate")));
  }
  if (const Json* attention = reader.find("attn_layer_idx");
      attention != nullptr && !attention->as_array(reader.at("attn_layer_idx")).empty()) {
    fail(reader.at("attn_layer_idx"), "no attention layer", attention->dump());
  }
  reader.find("attn_cfg");  // of layers that there are none of
  for (const char* key : {"bidirectional", "rcps"}) reader.require(key, false);  // Caduceus

  const Json none = Json::object();
  const Json* ssm_json = reader.find("ssm_cfg");
  ConfigReader ssm(ssm_json == nullptr ? none : *ssm_json, where + ": ssm_cfg");
  read_state_spaces_ssm(ssm, c);
  require_agreement(reader, c);
  remark_on_residual(reader, out);
  out.ignored = reader.unread();
  for (const std::string& key : ssm.unread()) out.ignored.push_back("ssm_cfg." + key);
}

/// transformers' Mamba2Mixer: intermediate_size does not count, and heads must fill the inner
/// width.
void read_hugging_face_mamba2(ConfigReader& reader, ModelDescription& out) {
  MambaConfig& c = out.config;
  c.inner = reader.expanded(c.width);
  c.state = reader.integer("state_size", 128);
  c.head_width = reader.integer("head_dim", 64);
  c.groups = reader.integer("n_groups", 8);
  c.heads = reader.integer("num_heads", 128);
  if (checked_mul(c.heads, c.head_width, reader.at("num_heads")) != c.inner) {
    fail(reader.at("num_heads"),
         fmt::format("num_heads (128 if absent) × head_dim (64 if absent) = expand × hidden_size, "
                     "{}",
                     c.inner),
         fmt::format("{} × {}", c.heads, c.head_width));
  }
  read_limits(reader, "time_step_limit", c);
  if (reader.flag("norm_before_gate", false)) {
    out.remarks.push_back(
        "norm_before_gate true has no effect: transformers gates before the norm, and so does "
        "scute");
  }
  if (!reader.flag("rms_norm", true)) {
    out.remarks.push_back(
        "rms_norm false has no effect: transformers has the gated norm always, and so has scute");
  }
}

void read_hugging_face(const Json& json, const std::string& where, ModelDescription& out) {
  ConfigReader reader(json, where);
  MambaConfig& c = out.config;
  const bool one = reader.text("model_type", "") == "mamba";
  c.mixer = one ? MixerKind::mamba1 : MixerKind::mamba2;
  // The defaults of MambaConfig and Mamba2Config.
  c.width = reader.integer("hidden_size", one ? 768 : 4096);
  c.layers = reader.integer("num_hidden_layers", one ? 32 : 64);
  c.vocabulary = reader.integer("vocab_size", one ? 50280 : 32768);
  out.vocabulary_unpadded = c.vocabulary;
  c.tied_head = reader.flag("tie_word_embeddings", one);
  c.norm_eps = static_cast<float>(reader.number("layer_norm_epsilon", 1e-5));
  c.taps = reader.integer("conv_kernel", 4);
  c.conv_bias = reader.flag("use_conv_bias", true);
  reader.require("use_bias", false);
  reader.require("use_bcdt_rms", false);  // Falcon-Mamba's norms, in older converted configs
  reader.require_silu("hidden_act");
  remark_on_residual(reader, out);
  if (one) {
    c.inner = reader.expanded(c.width);
    c.inner = reader.integer("intermediate_size", c.inner);
    c.state = reader.integer("state_size", 16);
    c.dt_rank = reader.integer_or_auto("time_step_rank", ceil_div(c.width, 16));
  } else {
    read_hugging_face_mamba2(reader, out);
  }
  out.ignored = reader.unread();
}

/// Families whose class may be named beside another model_type; a config that contradicts itself is
/// of neither.
void check_architecture(const Json& config, std::string_view type, const std::string& where) {
  const Json* list = config.find("architectures");
  if (list == nullptr || !list->is_array() || list->as_array(where).empty()) return;
  const Json& first = list->as_array(where).front();
  if (!first.is_string()) return;
  const std::string& name = first.as_string(where);
  for (const char* other :
       {"Mamba", "Mamba2", "FalconMamba", "Jamba", "Bamba", "Zamba", "Zamba2"}) {
    std::string its_type = other;
    std::ranges::transform(its_type, its_type.begin(), [](char c) {
      return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
    });
    if (name != std::string(other) + "ForCausalLM" || its_type == type) continue;
    fail(where + ": architectures", fmt::format("the class of model_type \"{}\"", type), name);
  }
}

}  // namespace

ModelDescription describe_config(const Json& config, const std::string& where) {
  ModelDescription out;
  const Json* named = config.find("model_type");
  const bool has_type = named != nullptr && named->is_string();
  const std::string type = has_type ? named->as_string("") : "";
  const bool known = type == "mamba" || type == "mamba2";
  const bool own = config.find("d_model") != nullptr;
  if (has_type && !known) {
    fail(where + ": model_type", "mamba or mamba2, or none beside state-spaces' d_model",
         fmt::format("\"{}\", a model that is not known", type));
  }
  // The published mamba-*-hf configs hold both; transformers reads its own words alone.
  if (known && (config.find("hidden_size") != nullptr || !own)) {
    check_architecture(config, type, where);
    out.dialect = "Hugging Face";
    read_hugging_face(config, where, out);
  } else if (own) {
    out.dialect = "state-spaces";
    read_state_spaces(config, where, out);
  } else {
    fail(where, "a Mamba config (state-spaces' d_model, or model_type mamba or mamba2)", "neither");
  }
  out.config.check(where);
  out.json = config;
  if (const Json* scute = config.find("scute"); scute != nullptr) {
    out.low_bit = true;
    out.scheme = scheme_from_json(*scute, where + ": scute");
    const auto formats = layers_from_json(*scute, where + ": scute");
    if (std::ssize(formats) != out.config.layers) {
      fail(where + ": scute: layers", fmt::format("{} formats", out.config.layers),
           fmt::format("{}", formats.size()));
    }
  }
  return out;
}

}  // namespace scute
