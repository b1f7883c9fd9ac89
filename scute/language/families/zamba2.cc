// Zamba2: Mamba-2; some layers add what a transformer block, shared by several, says of the stream
// and of the first embedding.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <optional>

#include "scute/base/error.h"
#include "scute/language/families/config_keys.h"
#include "scute/language/families/families.h"
#include "scute/language/families/tensor_names.h"

namespace scute {
namespace {

/// Keys of Zyphra's own code of 2024, whose tensors are called otherwise.
void refuse_dialect_of_2024(ConfigReader& reader) {
  for (const char* key : {"state_size", "conv_dimension", "expansion_factor", "ffn_hidden_size",
                          "lora_rank", "use_shared_attention_lora", "se_shared_attention_lora",
                          "use_shared_block_lora", "gated_linear_unit", "ft_lora"}) {
    if (!reader.has(key)) continue;
    fail(reader.at(key),
         "transformers' words for Zamba2 (mamba_d_state, adapter_rank, …): convert the checkpoint "
         "with its Zamba2ForCausalLM",
         "the dialect of Zyphra's own code of 2024 (not supported)");
  }
}

/// The layers of Zamba2-2.7B, which are the class's default.
std::vector<LayerKind> default_layers() {
  std::vector<LayerKind> out(54, LayerKind::mixer);
  for (const size_t hybrid : {6U, 12U, 18U, 24U, 30U, 36U, 42U, 47U, 51U})
    out[hybrid] = LayerKind::hybrid;
  return out;
}

void read_zamba2_mixer(ConfigReader& reader, MambaConfig& c) {
  c.mixer = MixerKind::mamba2;
  c.inner = reader.expanded(c.width, "mamba_expand");
  c.heads = reader.integer("n_mamba_heads", 8);
  c.head_width = share_of(reader, "n_mamba_heads", c.inner, c.heads);
  c.groups = reader.integer("mamba_ngroups", 1);
  c.state = reader.integer("mamba_d_state", 64);
  c.taps = reader.integer("mamba_d_conv", 4);
  c.in_proj_bias = c.out_proj_bias = reader.flag("add_bias_linear", false);
  // The class gives its gated norm no epsilon of the config's.
  c.gated_eps = 1e-5F;
  read_limits(reader, "time_step_limit", c);
}

void read_zamba2_shared(ConfigReader& reader, ModelDescription& out) {
  MambaConfig& c = out.config;
  c.attention = read_heads(reader, 32, 0);
  // Attention reads the stream and the embedding side by side.
  set_head_width(c.attention,
                 share_of(reader, "num_attention_heads", 2 * c.width, c.attention.heads));
  c.attention.scale =
      static_cast<float>(1 / std::sqrt(static_cast<double>(c.attention.head_width) / 2));
  reader.require("attention_bias", false);
  if (reader.flag("use_mem_rope", false)) read_rope(reader, {}, out);
  reader.require("use_long_context", false);  // another θ
  c.feed_forward.form = FeedForwardConfig::Form::gelu;
  c.feed_forward.bias = reader.flag("add_bias_linear", false);
  reader.require_word("hidden_act", "gelu");
  c.shared.count = reader.integer("num_mem_blocks", 1);
  c.shared.inner = reader.find("intermediate_size") == nullptr
                       ? 4 * c.width
                       : reader.integer("intermediate_size");
  c.shared.adapter_rank = reader.integer("adapter_rank", 128);
  c.shared.attention_adapters = reader.flag("use_shared_attention_adapter", false);
}

constexpr std::string_view kShared = "shared_transformer.";
constexpr std::array kPlainLayer{NamePair{"input_layernorm.", "norm."},
                                 NamePair{"mamba.", "mixer."}};
constexpr std::array kHybridLayer{NamePair{"mamba_decoder.input_layernorm.", "norm."},
                                  NamePair{"mamba_decoder.mamba.", "mixer."}};
/// One for each layer that uses a shared block, and what they are called in that layer.
constexpr auto kAdapterLists =
    std::to_array<NamePair>({{"self_attn.linear_q_adapter_list.", "q."},
                             {"self_attn.linear_k_adapter_list.", "k."},
                             {"self_attn.linear_v_adapter_list.", "v."},
                             {"feed_forward.gate_up_proj_adapter_list.", "mlp."}});

/// A shared tensor's place: after "backbone.shared.{b}.".
constexpr auto kSharedNames = std::to_array<NamePair>({{"input_layernorm.", "norm."},
                                                       {"pre_ff_layernorm.", "norm2."},
                                                       {"self_attn.", "attention."},
                                                       {"feed_forward.", "mlp."}});

struct Adapter {
  std::string to;  ///< after "backbone.layers.{i}.adapter."
  size_t user = 0;
};

/// "self_attn.linear_q_adapter_list.{n}.0.weight" or "feed_forward.gate_up_proj_adapter_list.…".
/// Nothing for another name.
std::optional<Adapter> adapter_of(std::string_view rest) {
  for (const NamePair& list : kAdapterLists) {
    if (!rest.starts_with(list.from)) continue;
    rest.remove_prefix(list.from.size());
    Adapter out;
    const auto [end, error] = std::from_chars(rest.data(), rest.data() + rest.size(), out.user);
    if (error != std::errc()) return std::nullopt;
    rest.remove_prefix(static_cast<size_t>(end - rest.data()));
    const bool down = rest.starts_with(".0.");
    if (!down && !rest.starts_with(".1.")) return std::nullopt;
    out.to = fmt::format("{}{}.{}", list.to, down ? "down" : "up", rest.substr(3));
    return out;
  }
  return std::nullopt;
}

/// The layers that use a shared block.
std::vector<int64_t> users_of(const MambaConfig& config) {
  std::vector<int64_t> out;
  for (const BlockConfig& block : config.blocks) {
    if (block.shared >= 0) out.push_back(block.layer);
  }
  return out;
}

/// Where a tensor that layer `user` of those with a shared block holds belongs; "" when nowhere.
std::string place_of(std::string_view rest, int64_t user, const std::vector<int64_t>& users,
                     int64_t blocks) {
  if (const auto adapter = adapter_of(rest)) {
    if (adapter->user >= users.size()) return "";
    return fmt::format("backbone.layers.{}.adapter.{}", users[adapter->user], adapter->to);
  }
  for (const NamePair& pair : kSharedNames) {
    if (!rest.starts_with(pair.from)) continue;
    return fmt::format("backbone.shared.{}.{}{}", user % blocks, pair.to,
                       rest.substr(pair.from.size()));
  }
  return "";
}

}  // namespace

void read_zamba2(ConfigReader& reader, ModelDescription& out) {
  refuse_dialect_of_2024(reader);
  MambaConfig& c = out.config;
  read_sizes(reader, {.width = 2560, .vocabulary = 32000, .tied = true}, out);
  c.norm_eps = read_epsilon(reader, {"rms_norm_eps"}, 1e-5);
  std::vector<LayerKind> kinds = read_layer_kinds(reader, {LayerKind::mixer, LayerKind::hybrid});
  if (kinds.empty()) kinds = default_layers();
  read_layer_count(reader, 54, kinds, c);
  read_zamba2_mixer(reader, c);
  if (holds(kinds, LayerKind::hybrid)) read_zamba2_shared(reader, out);
  int64_t users = 0;
  for (int64_t i = 0; i < c.layers; ++i) {
    const bool hybrid = kinds[static_cast<size_t>(i)] == LayerKind::hybrid;
    c.blocks.push_back({.layer = i, .parts = {PartKind::mixer}, .shared = hybrid ? users++ : -1});
  }
}

std::vector<std::string> rename_zamba2(const MambaConfig& config, Weights& weights) {
  rename_layers(weights, kPlainLayer);
  rename_layers(weights, kHybridLayer);
  const std::vector<int64_t> users = users_of(config);
  for (const std::string& name : weights.names()) {
    const auto [layer, rest] = layer_name(name);
    const auto user = std::ranges::find(users, layer);
    if (user == users.end() || !rest.starts_with(kShared)) continue;
    const std::string to =
        place_of(rest.substr(kShared.size()), user - users.begin(), users, config.shared.count);
    if (!to.empty()) rename_copy(weights, name, to);
  }
  for (int64_t b = 0; b < config.shared.count; ++b) {
    const std::string mlp = fmt::format("backbone.shared.{}.mlp.", b);
    split_rows(weights, mlp + "gate_up_proj", std::array{mlp + "gate_proj", mlp + "up_proj"});
  }
  for (const int64_t layer : users) {
    const std::string adapter = fmt::format("backbone.layers.{}.adapter.", layer);
    split_rows(weights, adapter + "mlp.up", std::array{adapter + "gate.up", adapter + "up.up"});
  }
  return {};
}

/// A block's tensors and its users' adapters go to the first layer that uses it.
void publish_zamba2(const MambaConfig& config, Weights& weights) {
  const std::vector<int64_t> users = users_of(config);
  const auto home = [&](size_t user) {
    const size_t first = user % static_cast<size_t>(config.shared.count);
    return fmt::format("backbone.layers.{}.{}", users[first], kShared);
  };
  for (size_t b = 0; b < std::min(users.size(), static_cast<size_t>(config.shared.count)); ++b) {
    const std::string at = fmt::format("backbone.shared.{}.", b), mlp = at + "mlp.";
    join_rows(weights, std::array{mlp + "gate_proj", mlp + "up_proj"}, mlp + "gate_up_proj");
    publish_after(weights, at, kSharedNames);
    for (const std::string& name : weights.names()) {
      if (name.starts_with(at)) weights.rename(name, home(b) + name.substr(at.size()));
    }
  }
  for (size_t n = 0; n < users.size(); ++n) {
    const std::string layer = fmt::format("backbone.layers.{}.", users[n]);
    const std::string at = layer + "adapter.";
    join_rows(weights, std::array{at + "gate.up", at + "up.up"}, at + "mlp.up");
    for (const NamePair& list : kAdapterLists) {
      for (const auto& [ours, index] : {std::pair("down.", 0), std::pair("up.", 1)}) {
        const std::string from = fmt::format("{}{}{}weight", at, list.to, ours);
        const std::string to = fmt::format("{}{}{}.{}.weight", home(n), list.from, n, index);
        if (weights.contains(from)) weights.rename(from, to);
      }
    }
    publish_after(weights, layer, kHybridLayer);
  }
  publish_layers(weights, kPlainLayer);
}

}  // namespace scute
