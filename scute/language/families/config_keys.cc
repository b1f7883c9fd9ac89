#include "scute/language/families/config_keys.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <optional>

#include "scute/base/checked.h"
#include "scute/base/error.h"
#include "scute/base/names.h"

namespace scute {
namespace {

/// MambaConfig::check's, before anything is multiplied or counted.
constexpr int64_t kMostLayers = 4096, kWidestModel = 1 << 17;

struct LayerWord {
  std::string_view word;
  LayerKind kind;
};
/// transformers' words, 4 and 5, and Zamba2's of 2024, which are letters.
constexpr auto kLayerWords = std::to_array<LayerWord>({
    {"mamba", LayerKind::mixer},
    {"linear_attention", LayerKind::mixer},
    {"attention", LayerKind::attention},
    {"full_attention", LayerKind::attention},
    {"mlp", LayerKind::feed_forward},
    {"moe", LayerKind::experts},
    {"hybrid", LayerKind::hybrid},
    {"m", LayerKind::mixer},
    {"g", LayerKind::hybrid},
});

LayerKind layer_kind(std::string_view word, const std::string& where,
                     std::initializer_list<LayerKind> allowed) {
  const auto has = [&](LayerKind kind) { return std::ranges::count(allowed, kind) > 0; };
  const auto usable = [&](const LayerWord& known) {
    return has(known.kind) && (known.word.size() > 1 || has(LayerKind::hybrid));
  };
  std::vector<std::string> words;
  for (const LayerWord& known : kLayerWords) {
    if (!usable(known)) continue;
    if (known.word == word) return known.kind;
    words.emplace_back(known.word);
  }
  fail(where, fmt::format("a kind of layer: {}", joined(words, ", ")), fmt::format("\"{}\"", word));
}

std::optional<std::vector<LayerKind>> read_kind_list(ConfigReader& reader, std::string_view key,
                                                     std::initializer_list<LayerKind> allowed) {
  const Json* list = reader.find(key);
  if (list == nullptr) return std::nullopt;
  const auto& words = list->as_array(reader.at(key));
  require_layer_count(reader, key, std::ssize(words));
  std::vector<LayerKind> out;
  for (const Json& word : words) {
    const std::string where = fmt::format("{}[{}]", reader.at(key), out.size());
    out.push_back(layer_kind(word.as_string(where), where, allowed));
  }
  return out;
}

void require_default_rope(ConfigReader& dict) {
  for (const char* key : {"rope_type", "type"}) dict.require_word(key, "default");
}

}  // namespace

int64_t ceil_div(int64_t a, int64_t b) { return a / b + (a % b != 0 ? 1 : 0); }

int64_t share_of(ConfigReader& reader, std::string_view key, int64_t whole, int64_t parts) {
  if (parts < 1 || whole < 1 || whole % parts != 0) {
    fail(reader.at(key), fmt::format("a number that divides {}", whole), fmt::format("{}", parts));
  }
  return whole / parts;
}

void read_sizes(ConfigReader& reader, const SizeDefaults& defaults, ModelDescription& out) {
  MambaConfig& c = out.config;
  c.width = reader.integer("hidden_size", defaults.width);
  if (c.width < 1 || c.width > kWidestModel) {
    fail(reader.at("hidden_size"), fmt::format("from 1 to {}", kWidestModel),
         fmt::format("{}", c.width));
  }
  c.vocabulary = reader.integer("vocab_size", defaults.vocabulary);
  out.vocabulary_unpadded = c.vocabulary;
  c.tied_head = reader.flag("tie_word_embeddings", defaults.tied);
}

float read_epsilon(ConfigReader& reader, std::initializer_list<std::string_view> names,
                   double otherwise) {
  std::optional<std::string_view> first;
  for (const std::string_view name : names) {
    if (!reader.has(name)) continue;
    const double value = reader.number(name, otherwise);
    if (!first) {
      first = name;
      otherwise = value;
    } else if (value != otherwise) {
      fail(reader.at(name), fmt::format("{}, as {} says", otherwise, *first),
           fmt::format("{}", value));
    }
  }
  return static_cast<float>(otherwise);
}

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

void remark_on_residual(ConfigReader& reader, ModelDescription& out) {
  if (reader.flag("residual_in_fp32", true)) return;
  out.remarks.push_back(
      "residual_in_fp32 false has no effect: the residual stream is summed in f32");
}

void read_mamba2_keys(ConfigReader& reader, int64_t inner, MambaConfig& c) {
  c.mixer = MixerKind::mamba2;
  c.inner = inner;
  c.heads = reader.integer("mamba_n_heads", 128);
  if (c.heads < 1) fail(reader.at("mamba_n_heads"), "at least 1", fmt::format("{}", c.heads));
  c.head_width = reader.integer_or_auto("mamba_d_head", inner / c.heads);
  if (checked_mul(c.heads, c.head_width, reader.at("mamba_d_head")) != inner) {
    fail(reader.at("mamba_n_heads"),
         fmt::format("mamba_n_heads (128 if absent) × mamba_d_head = the inner width {}", inner),
         fmt::format("{} × {}", c.heads, c.head_width));
  }
  c.groups = reader.integer("mamba_n_groups", 1);
  c.state = reader.integer("mamba_d_state", 256);
  c.taps = reader.integer("mamba_d_conv", 4);
  c.conv_bias = reader.flag("mamba_conv_bias", true);
  read_limits(reader, "time_step_limit", c);
}

AttentionConfig read_heads(ConfigReader& reader, int64_t heads, int64_t key_heads) {
  constexpr std::string_view kKeyHeads = "num_key_value_heads";
  AttentionConfig out;
  out.heads = reader.integer("num_attention_heads", heads);
  out.key_heads = key_heads == 0 ? out.heads : key_heads;
  if (!reader.has(kKeyHeads)) return out;
  const Json* given = reader.find(kKeyHeads);
  out.key_heads = given == nullptr ? out.heads : reader.integer(kKeyHeads);
  return out;
}

void set_head_width(AttentionConfig& attention, int64_t width) {
  attention.head_width = width;
  attention.scale = static_cast<float>(1 / std::sqrt(static_cast<double>(width)));
}

void use_head_share(ConfigReader& reader, int64_t width, AttentionConfig& attention) {
  set_head_width(attention, share_of(reader, "num_attention_heads", width, attention.heads));
  reader.require_same("head_dim", static_cast<double>(attention.head_width),
                      "hidden_size / num_attention_heads");
}

void read_attention_bias(ConfigReader& reader, AttentionConfig& attention) {
  attention.qkv_bias = attention.out_bias = reader.flag("attention_bias", false);
}

void read_rope(ConfigReader& reader, const RopeDefaults& defaults, ModelDescription& out) {
  constexpr std::string_view kShare = "partial_rotary_factor";
  ConfigReader old = reader.object("rope_scaling"), dict = reader.object("rope_parameters");
  require_default_rope(old);
  require_default_rope(dict);
  AttentionConfig& a = out.config.attention;
  a.theta = dict.number("rope_theta", reader.number("rope_theta", a.theta));
  const double partial = dict.number(kShare, reader.number(kShare, defaults.partial));
  if (!(partial > 0 && partial <= 1) || (defaults.fixed && partial != defaults.partial)) {
    fail((dict.has(kShare) ? dict : reader).at(kShare),
         defaults.fixed ? fmt::format("{}, as this family has it", defaults.partial)
                        : "a share above 0, up to 1",
         fmt::format("{}", partial));
  }
  a.rotated = static_cast<int64_t>(static_cast<double>(a.head_width) * partial);
  for (const std::string& key : dict.unread()) out.ignored.push_back("rope_parameters." + key);
  for (const std::string& key : old.unread()) out.ignored.push_back("rope_scaling." + key);
}

void require_layer_count(ConfigReader& reader, std::string_view key, int64_t count) {
  if (count >= 1 && count <= kMostLayers) return;
  fail(reader.at(key), fmt::format("from 1 to {} layers", kMostLayers), fmt::format("{}", count));
}

std::vector<LayerKind> read_layer_kinds(ConfigReader& reader,
                                        std::initializer_list<LayerKind> allowed) {
  const auto types = read_kind_list(reader, "layer_types", allowed);
  const auto blocks = read_kind_list(reader, "layers_block_type", allowed);
  if (types && blocks && *types != *blocks) {
    fail(reader.at("layers_block_type"), "the same layers as layer_types", "others");
  }
  return types ? *types : blocks ? *blocks : std::vector<LayerKind>{};
}

void read_layer_count(ConfigReader& reader, int64_t otherwise, const std::vector<LayerKind>& kinds,
                      MambaConfig& config) {
  const int64_t listed = std::ssize(kinds);
  config.layers = reader.integer("num_hidden_layers", listed > 0 ? listed : otherwise);
  require_layer_count(reader, "num_hidden_layers", config.layers);
  if (listed > 0 && listed != config.layers) {
    fail(reader.at("num_hidden_layers"),
         fmt::format("{}, the length of the list of layers", listed),
         fmt::format("{}", config.layers));
  }
}

std::vector<LayerKind> read_attention_layers(ConfigReader& reader, std::string_view key,
                                             int64_t layers) {
  std::vector<LayerKind> out(static_cast<size_t>(layers), LayerKind::mixer);
  const Json* list = reader.find(key);
  if (list == nullptr) return out;
  const std::string where = reader.at(key);
  for (const Json& index : list->as_array(where)) {
    const int64_t layer = index.as_int(where);
    if (layer < 0 || layer >= layers) {
      fail(where, fmt::format("layers from 0 to {}", layers - 1), fmt::format("{}", layer));
    }
    out[static_cast<size_t>(layer)] = LayerKind::attention;
  }
  return out;
}

bool holds(const std::vector<LayerKind>& kinds, LayerKind kind) {
  return std::ranges::find(kinds, kind) != kinds.end();
}

void add_layer(MambaConfig& config, int64_t layer, std::vector<PartKind> first, PartKind second,
               int64_t inner) {
  config.blocks.push_back({.layer = layer, .parts = std::move(first)});
  config.blocks.push_back({.layer = layer,
                           .second = true,
                           .parts = {second},
                           .inner = second == PartKind::feed_forward ? inner : 0});
}

}  // namespace scute
