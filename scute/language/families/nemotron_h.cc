// Nemotron-H: a layer is one block, Mamba-2, attention, a feed-forward or experts.
#include <fmt/format.h>

#include <array>
#include <initializer_list>
#include <optional>

#include "scute/base/checked.h"
#include "scute/base/error.h"
#include "scute/language/families/config_keys.h"
#include "scute/language/families/families.h"
#include "scute/language/families/tensor_names.h"

namespace scute {
namespace {

constexpr auto kNemotronNames =
    std::to_array<NamePair>({{"mixer.q_proj.", "attention.q_proj."},
                             {"mixer.k_proj.", "attention.k_proj."},
                             {"mixer.v_proj.", "attention.v_proj."},
                             {"mixer.o_proj.", "attention.o_proj."},
                             {"mixer.up_proj.", "mlp.up_proj."},
                             {"mixer.down_proj.", "mlp.down_proj."},
                             {"mixer.gate.e_score_correction_bias", "mlp.router.correction_bias"},
                             {"mixer.gate.", "mlp.router."},
                             {"mixer.experts.", "mlp.experts."},
                             {"mixer.shared_experts.", "mlp.shared."},
                             {"mixer.fc1_latent_proj.", "mlp.latent_in."},
                             {"mixer.fc2_latent_proj.", "mlp.latent_out."}});

/// An integer under its name of today or an older one, which must agree.
int64_t named_integer(ConfigReader& reader, std::initializer_list<std::string_view> names,
                      int64_t otherwise) {
  std::optional<int64_t> out;
  for (const std::string_view name : names) {
    if (!reader.has(name)) continue;
    const int64_t value = reader.integer(name);
    if (out && *out != value) {
      fail(reader.at(name), fmt::format("{}, as {} says", *out, *names.begin()),
           fmt::format("{}", value));
    }
    out = value;
  }
  return out.value_or(otherwise);
}

LayerKind kind_of_letter(char letter, const std::string& where) {
  switch (letter) {
    case 'M':
      return LayerKind::mixer;
    case '*':
      return LayerKind::attention;
    case '-':
      return LayerKind::feed_forward;
    case 'E':
      return LayerKind::experts;
    default:
      fail(where, "letters M (Mamba-2), * (attention), - (feed-forward) and E (experts)",
           fmt::format("\"{}\"", letter));
  }
}

/// hybrid_override_pattern's letters (transformers 4) or layers_block_type's words (5).
std::vector<LayerKind> read_pattern(ConfigReader& reader) {
  constexpr std::string_view kPattern = "hybrid_override_pattern";
  const std::vector<LayerKind> words = read_layer_kinds(
      reader,
      {LayerKind::mixer, LayerKind::attention, LayerKind::feed_forward, LayerKind::experts});
  std::vector<LayerKind> letters;
  if (const Json* pattern = reader.find(kPattern)) {
    const std::string& text = pattern->as_string(reader.at(kPattern));
    require_layer_count(reader, kPattern, std::ssize(text));
    for (const char letter : text) letters.push_back(kind_of_letter(letter, reader.at(kPattern)));
  }
  if (words.empty() && letters.empty()) {
    fail(reader.at(kPattern), "the layers (M, *, - and E), or their list layers_block_type",
         "neither");
  }
  if (!words.empty() && !letters.empty() && words != letters) {
    fail(reader.at(kPattern), "the layers that layers_block_type lists", "others");
  }
  return words.empty() ? letters : words;
}

void read_nemotron_mixer(ConfigReader& reader, MambaConfig& c) {
  c.heads = reader.integer("mamba_num_heads", 128);
  c.head_width = reader.integer("mamba_head_dim", 64);
  // Not expand · D: 4096 beside 5376 in Nano-30B.
  c.inner = checked_mul(c.heads, c.head_width, reader.at("mamba_num_heads"));
  c.groups = named_integer(reader, {"n_groups", "mamba_n_groups"}, 8);
  c.state = named_integer(reader, {"ssm_state_size", "mamba_d_state"}, 128);
  c.taps = named_integer(reader, {"conv_kernel", "mamba_d_conv"}, 4);
  c.conv_bias = reader.flag("use_conv_bias", true);
  if (!reader.has("use_conv_bias")) {
    c.conv_bias = reader.flag("mamba_conv_bias", true);
  } else {
    reader.require_same("mamba_conv_bias", c.conv_bias ? 1 : 0, "as use_conv_bias says");
  }
  c.in_proj_bias = c.out_proj_bias = reader.flag("use_bias", false);
  reader.require_silu("mamba_hidden_act");
  read_limits(reader, "time_step_limit", c);
}

void read_nemotron_attention(ConfigReader& reader, MambaConfig& c) {
  c.attention = read_heads(reader, 32, 8);
  set_head_width(c.attention, named_integer(reader, {"head_dim", "attention_head_dim"}, 128));
}

void read_nemotron_experts(ConfigReader& reader, MambaConfig& c) {
  ExpertsConfig& e = c.experts;
  e.routing = ExpertsConfig::Routing::sigmoid;
  e.count = reader.integer("n_routed_experts", 8);
  e.chosen = reader.integer("num_experts_per_tok", 2);
  e.inner = reader.integer("moe_intermediate_size", 7688);
  // The width of all shared experts together, whatever their number.
  e.shared_inner = reader.integer("moe_shared_expert_intermediate_size", 7688);
  require_at_least(reader.at("n_shared_experts"), reader.integer("n_shared_experts", 1), 1);
  if (reader.find("moe_latent_size") != nullptr) e.latent = reader.integer("moe_latent_size");
  e.groups = reader.integer("n_group", 1);
  e.kept = reader.integer("topk_group", 1);
  e.normalized = reader.flag("norm_topk_prob", true);
  e.scaling = reader.real("routed_scaling_factor", 1);
}

/// One number, or one for each layer (compressed models).
std::vector<int64_t> read_widths(ConfigReader& reader, int64_t layers) {
  constexpr std::string_view kKey = "intermediate_size";
  const Json* given = reader.find(kKey);
  if (given == nullptr || !given->is_array()) {
    return std::vector<int64_t>(static_cast<size_t>(layers), reader.integer(kKey, 21504));
  }
  std::vector<int64_t> out;
  for (const Json& width : given->as_array(reader.at(kKey))) {
    out.push_back(width.as_int(reader.at(kKey)));
  }
  if (std::ssize(out) != layers) {
    fail(reader.at(kKey), fmt::format("one width, or one for each of {} layers", layers),
         fmt::format("{}", out.size()));
  }
  return out;
}

PartKind nemotron_part(LayerKind kind) {
  switch (kind) {
    case LayerKind::attention:
      return PartKind::attention;
    case LayerKind::feed_forward:
      return PartKind::feed_forward;
    case LayerKind::experts:
      return PartKind::experts;
    default:
      return PartKind::mixer;
  }
}

}  // namespace

void read_nemotron_h(ConfigReader& reader, ModelDescription& out) {
  MambaConfig& c = out.config;
  read_sizes(reader, {.width = 4096, .vocabulary = 131072}, out);
  c.norm_eps = read_epsilon(reader, {"layer_norm_epsilon", "rms_norm_eps", "norm_eps"}, 1e-5);
  const std::vector<LayerKind> kinds = read_pattern(reader);
  c.layers = std::ssize(kinds);
  c.mixer = MixerKind::mamba2;
  c.feed_forward.form = FeedForwardConfig::Form::squared_relu;
  reader.require_word("mlp_hidden_act", "relu2");
  c.feed_forward.bias = reader.flag("mlp_bias", false);
  if (holds(kinds, LayerKind::mixer)) read_nemotron_mixer(reader, c);
  if (holds(kinds, LayerKind::attention)) read_nemotron_attention(reader, c);
  if (holds(kinds, LayerKind::experts)) read_nemotron_experts(reader, c);
  std::vector<int64_t> widths(kinds.size());
  if (holds(kinds, LayerKind::feed_forward)) widths = read_widths(reader, c.layers);
  for (size_t i = 0; i < kinds.size(); ++i) {
    const PartKind part = nemotron_part(kinds[i]);
    c.blocks.push_back({.layer = static_cast<int64_t>(i),
                        .parts = {part},
                        .inner = part == PartKind::feed_forward ? widths[i] : 0});
  }
}

std::vector<std::string> rename_nemotron_h(const MambaConfig&, Weights& weights) {
  rename_layers(weights, kNemotronNames);
  bool more = false;
  for (const std::string& name : weights.names()) {
    if (!name.starts_with("mtp.")) continue;
    weights.erase(name);
    more = true;
  }
  if (!more) return {};
  return {"the tensors mtp.…, which predict further tokens, are not used"};
}

void publish_nemotron_h(const MambaConfig&, Weights& weights) {
  publish_layers(weights, kNemotronNames);
}

}  // namespace scute
