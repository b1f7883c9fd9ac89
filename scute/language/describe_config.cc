// config.json in the two dialects.
#include <fmt/format.h>

#include "scute/base/checked.h"
#include "scute/language/low_bit_config.h"
#include "scute/language/model_folder.h"

namespace scute {
namespace {

/// One config object; getters name file and key in their errors.
class Reader {
 public:
  Reader(const Json& json, std::string where) : json_(json), where_(std::move(where)) {}

  std::string at(std::string_view key) const { return fmt::format("{}: {}", where_, key); }
  const Json* find(std::string_view key) const {
    const Json* value = json_.find(key);
    return value != nullptr && value->is_null() ? nullptr : value;
  }
  int64_t integer(std::string_view key) const { return json_.at(key, where_).as_int(at(key)); }
  int64_t integer(std::string_view key, int64_t otherwise) const {
    const Json* value = find(key);
    return value == nullptr ? otherwise : value->as_int(at(key));
  }
  double number(std::string_view key, double otherwise) const {
    const Json* value = find(key);
    return value == nullptr ? otherwise : value->as_double(at(key));
  }
  bool flag(std::string_view key, bool otherwise) const {
    const Json* value = find(key);
    return value == nullptr ? otherwise : value->as_bool(at(key));
  }
  std::string text(std::string_view key, std::string otherwise) const {
    const Json* value = find(key);
    return value == nullptr ? otherwise : value->as_string(at(key));
  }
  /// An integer, or "auto" for `automatic`.
  int64_t integer_or_auto(std::string_view key, int64_t automatic) const {
    const Json* value = find(key);
    if (value == nullptr || (value->is_string() && value->as_string("") == "auto"))
      return automatic;
    return value->as_int(at(key));
  }
  /// Refuses an option whose other value this engine does not compute.
  void require(std::string_view key, bool wanted) const {
    if (flag(key, wanted) != wanted) {
      fail(at(key), wanted ? "true" : "false",
           wanted ? "false (not supported)" : "true (not supported)");
    }
  }

 private:
  const Json& json_;
  std::string where_;
};

int64_t ceil_div(int64_t a, int64_t b) { return a / b + (a % b != 0 ? 1 : 0); }

/// [least, most] of the time step, from an array of two numbers.
void read_limits(const Reader& reader, std::string_view key, MambaConfig& config) {
  const Json* value = reader.find(key);
  if (value == nullptr) return;
  const auto& pair = value->as_array(reader.at(key));
  if (pair.size() != 2) fail(reader.at(key), "two numbers", fmt::format("{}", pair.size()));
  config.dt_min = static_cast<float>(pair[0].as_double(reader.at(key)));
  config.dt_max = static_cast<float>(pair[1].as_double(reader.at(key)));
}

int64_t divide(const std::string& where, int64_t inner, int64_t head_width) {
  if (head_width < 1 || inner % head_width != 0) {
    fail(where, fmt::format("a head width that divides the inner width {}", inner),
         fmt::format("{}", head_width));
  }
  return inner / head_width;
}

void read_state_spaces(const Json& json, const std::string& where, ModelDescription& out) {
  const Reader reader(json, where);
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

  const Json none = Json::object();
  const Json* ssm_json = reader.find("ssm_cfg");
  const Reader ssm(ssm_json == nullptr ? none : *ssm_json, where + ": ssm_cfg");
  const std::string layer = ssm.text("layer", "Mamba1");
  if (layer != "Mamba1" && layer != "Mamba2") fail(ssm.at("layer"), "Mamba1 or Mamba2", layer);
  c.mixer = layer == "Mamba1" ? MixerKind::mamba1 : MixerKind::mamba2;
  ssm.require("bias", false);
  c.conv_bias = ssm.flag("conv_bias", true);
  c.taps = ssm.integer("d_conv", 4);
  c.inner = checked_mul(ssm.integer("expand", 2), c.width, where);
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

void read_hugging_face(const Json& json, const std::string& where, ModelDescription& out) {
  const Reader reader(json, where);
  MambaConfig& c = out.config;
  const std::string type = reader.text("model_type", "");
  c.mixer = type == "mamba" ? MixerKind::mamba1 : MixerKind::mamba2;
  c.width = reader.integer("hidden_size");
  c.layers = reader.integer("num_hidden_layers");
  c.vocabulary = reader.integer("vocab_size");
  out.vocabulary_unpadded = c.vocabulary;
  c.tied_head = reader.flag("tie_word_embeddings", true);
  c.norm_eps = static_cast<float>(reader.number("layer_norm_epsilon", 1e-5));
  c.taps = reader.integer("conv_kernel", 4);
  c.conv_bias = reader.flag("use_conv_bias", true);
  reader.require("use_bias", false);
  if (const std::string act = reader.text("hidden_act", "silu"); act != "silu" && act != "swish") {
    fail(reader.at("hidden_act"), "silu", act);
  }
  const int64_t expanded = checked_mul(reader.integer("expand", 2), c.width, where);
  c.inner = reader.integer("intermediate_size", expanded);
  if (c.mixer == MixerKind::mamba1) {
    c.state = reader.integer("state_size", 16);
    c.dt_rank = reader.integer_or_auto("time_step_rank", ceil_div(c.width, 16));
    return;
  }
  c.state = reader.integer("state_size", 128);
  c.head_width = reader.integer("head_dim", 64);
  c.groups = reader.integer("n_groups", 1);
  c.heads = reader.integer("num_heads", divide(reader.at("head_dim"), c.inner, c.head_width));
  reader.require("rms_norm", true);
  reader.require("norm_before_gate", false);
  read_limits(reader, "time_step_limit", c);
}

}  // namespace

ModelDescription describe_config(const Json& config, const std::string& where) {
  ModelDescription out;
  const Json* type = config.find("model_type");
  if (config.find("d_model") != nullptr) {
    out.dialect = "state-spaces";
    read_state_spaces(config, where, out);
  } else if (type != nullptr && type->is_string() &&
             (type->as_string("") == "mamba" || type->as_string("") == "mamba2")) {
    out.dialect = "Hugging Face";
    read_hugging_face(config, where, out);
  } else {
    fail(where, "a Mamba config (state-spaces' d_model, or model_type mamba or mamba2)",
         type == nullptr ? "neither" : "model_type " + type->dump());
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
