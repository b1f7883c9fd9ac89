// For tests: which tensors a model has under our names, written from docs/families.md's list and
// not from the code that reads them.
#pragma once

#include <fmt/format.h>

#include <map>
#include <string>
#include <vector>

#include "scute/models/language/config.h"
#include "scute/tensor/tensor.h"

namespace scute::testing_families {

using TensorShapes = std::map<std::string, Shape>;

inline void add_matrix(TensorShapes& out, const std::string& name, int64_t rows, int64_t columns,
                       bool bias) {
  out[name + ".weight"] = {rows, columns};
  if (bias) out[name + ".bias"] = {rows};
}

inline void add_mixer(TensorShapes& out, const std::string& at, const MambaConfig& c) {
  add_matrix(out, at + "in_proj", c.projected(), c.width, c.in_proj_bias);
  add_matrix(out, at + "out_proj", c.width, c.inner, c.out_proj_bias);
  out[at + "conv1d.weight"] = {c.conv_channels(), 1, c.taps};
  if (c.conv_bias) out[at + "conv1d.bias"] = {c.conv_channels()};
  if (c.mixer == MixerKind::mamba2) {
    out[at + "dt_bias"] = out[at + "A_log"] = {c.heads};
    out[at + "D"] = {c.D_per_channel ? c.inner : c.heads};
    if (c.gated_norm != MambaConfig::GatedNorm::none) out[at + "norm.weight"] = {c.inner};
    return;
  }
  add_matrix(out, at + "x_proj", c.dt_rank + 2 * c.state, c.inner, false);
  add_matrix(out, at + "dt_proj", c.inner, c.dt_rank, true);
  out[at + "A_log"] = {c.inner, c.state};
  out[at + "D"] = {c.inner};
  if (c.inner_norms != MambaConfig::InnerNorms::weighted) return;
  out[at + "dt_norm.weight"] = {c.dt_rank};
  out[at + "B_norm.weight"] = out[at + "C_norm.weight"] = {c.state};
}

inline void add_attention(TensorShapes& out, const std::string& at, const AttentionConfig& a,
                          int64_t input, int64_t output) {
  const int64_t queries = a.heads * a.head_width, keys = a.key_heads * a.head_width;
  add_matrix(out, at + "q_proj", queries, input, a.qkv_bias);
  add_matrix(out, at + "k_proj", keys, input, a.qkv_bias);
  add_matrix(out, at + "v_proj", keys, input, a.qkv_bias);
  add_matrix(out, at + "o_proj", output, queries, a.out_bias);
  if (a.taps == 0) return;
  out[at + "conv1d.weight"] = {queries + 2 * keys, 1, a.taps};
  out[at + "conv1d.bias"] = {queries + 2 * keys};
}

inline void add_feed_forward(TensorShapes& out, const std::string& at, const FeedForwardConfig& f,
                             int64_t width, int64_t inner, bool bias) {
  if (f.gated()) add_matrix(out, at + "gate_proj", inner, width, bias);
  add_matrix(out, at + "up_proj", inner, width, bias);
  add_matrix(out, at + "down_proj", width, inner, bias);
}

inline void add_experts(TensorShapes& out, const std::string& at, const MambaConfig& c) {
  const ExpertsConfig& e = c.experts;
  const int64_t width = e.latent > 0 ? e.latent : c.width;
  out[at + "router.weight"] = {e.count, c.width};
  if (e.routing == ExpertsConfig::Routing::sigmoid) out[at + "router.correction_bias"] = {e.count};
  for (int64_t i = 0; i < e.count; ++i) {
    add_feed_forward(out, fmt::format("{}experts.{}.", at, i), c.feed_forward, width, e.inner,
                     false);
  }
  if (e.shared_inner > 0) {
    add_feed_forward(out, at + "shared.", c.feed_forward, c.width, e.shared_inner,
                     c.feed_forward.bias);
  }
  if (e.latent == 0) return;
  add_matrix(out, at + "latent_in", e.latent, c.width, false);
  add_matrix(out, at + "latent_out", c.width, e.latent, false);
}

inline void add_shared(TensorShapes& out, const MambaConfig& c) {
  for (int64_t b = 0; b < c.shared.count; ++b) {
    const std::string at = fmt::format("backbone.shared.{}.", b);
    out[at + "norm.weight"] = {2 * c.width};
    out[at + "norm2.weight"] = {c.width};
    add_attention(out, at + "attention.", c.attention, 2 * c.width, c.width);
    add_feed_forward(out, at + "mlp.", c.feed_forward, c.width, c.shared.inner,
                     c.feed_forward.bias);
  }
}

/// What a layer that uses a shared block has of its own.
inline void add_shared_use(TensorShapes& out, const std::string& layer, const MambaConfig& c) {
  const int64_t rank = c.shared.adapter_rank, D = c.width;
  out[layer + "linear.weight"] = {D, D};
  const std::string at = layer + "adapter.";
  out[at + "mlp.down.weight"] = {rank, D};
  out[at + "gate.up.weight"] = out[at + "up.up.weight"] = {c.shared.inner, rank};
  if (!c.shared.attention_adapters) return;
  const AttentionConfig& a = c.attention;
  for (const auto& [name, heads] :
       {std::pair{"q", a.heads}, {"k", a.key_heads}, {"v", a.key_heads}}) {
    out[fmt::format("{}{}.down.weight", at, name)] = {rank, 2 * D};
    out[fmt::format("{}{}.up.weight", at, name)] = {heads * a.head_width, rank};
  }
}

inline TensorShapes expected_tensors(const MambaConfig& c) {
  TensorShapes out;
  out["backbone.embedding.weight"] = {c.vocabulary, c.width};
  out["backbone.norm_f.weight"] = {c.width};
  if (!c.tied_head) out["lm_head.weight"] = {c.vocabulary, c.width};
  add_shared(out, c);
  for (const BlockConfig& block : c.all_blocks()) {
    const std::string layer = fmt::format("backbone.layers.{}.", block.layer);
    out[layer + (block.second ? "norm2.weight" : "norm.weight")] = {c.width};
    if (block.shared >= 0) add_shared_use(out, layer, c);
    for (const PartKind part : block.parts) {
      if (part == PartKind::mixer) add_mixer(out, layer + "mixer.", c);
      if (part == PartKind::attention) {
        add_attention(out, layer + "attention.", c.attention, c.width, c.width);
      }
      if (part == PartKind::feed_forward) {
        add_feed_forward(out, layer + "mlp.", c.feed_forward, c.width, block.inner,
                         c.feed_forward.bias);
      }
      if (part == PartKind::experts) add_experts(out, layer + "mlp.", c);
    }
  }
  return out;
}

/// Numbers in all of them.
inline int64_t parameters(const MambaConfig& c) {
  int64_t out = 0;
  for (const auto& [name, shape] : expected_tensors(c)) out += element_count(shape, name);
  return out;
}

}  // namespace scute::testing_families
