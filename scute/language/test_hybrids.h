// Small configs of hybrids with every kind of part, for tests.
#pragma once

#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "scute/models/language/config.h"

namespace scute::test {

/// A mixer, an attention layer, a mixer; each with what `second` says, if anything.
inline MambaConfig small_hybrid(MixerKind mixer, const std::vector<PartKind>& second) {
  MambaConfig c;
  c.mixer = mixer;
  c.layers = 3;
  c.width = 32;
  c.vocabulary = 61;
  c.inner = 64;
  c.state = 8;
  c.dt_rank = 4;
  if (mixer == MixerKind::mamba2) {
    c.head_width = 8;
    c.heads = 8;
    c.groups = 2;
  }
  c.attention = {.heads = 4, .key_heads = 2, .head_width = 8, .scale = 1 / std::sqrt(8.0F)};
  for (int64_t i = 0; i < c.layers; ++i) {
    const PartKind first = i == 1 ? PartKind::attention : PartKind::mixer;
    c.blocks.push_back({.layer = i, .parts = {first}});
    if (!second.empty()) {
      c.blocks.push_back({.layer = i, .second = true, .parts = second, .inner = 48});
    }
  }
  return c;
}

/// One of each way in which published hybrids are built.
inline std::vector<std::pair<std::string, MambaConfig>> small_hybrids() {
  using Routing = ExpertsConfig::Routing;
  std::vector<std::pair<std::string, MambaConfig>> out;
  MambaConfig bamba = small_hybrid(MixerKind::mamba2, {PartKind::feed_forward});
  bamba.attention.rotated = 4;
  bamba.attention.qkv_bias = bamba.attention.out_bias = bamba.feed_forward.bias = true;
  bamba.in_proj_bias = bamba.out_proj_bias = true;
  out.emplace_back("bamba", bamba);

  MambaConfig granite = small_hybrid(MixerKind::mamba2, {PartKind::experts});
  granite.experts = {.count = 6,
                     .chosen = 2,
                     .inner = 24,
                     .shared_inner = 40,
                     .routing = Routing::softmax_of_chosen};
  granite.embedding_factor = 12;
  granite.residual_factor = 0.22F;
  granite.logit_factor = 1 / 8.0F;
  granite.tied_head = false;
  out.emplace_back("granite", granite);

  MambaConfig jamba = small_hybrid(MixerKind::mamba1, {PartKind::experts});
  jamba.inner_norms = MambaConfig::InnerNorms::weighted;
  jamba.experts = {.count = 4, .chosen = 2, .inner = 24, .routing = Routing::softmax};
  out.emplace_back("jamba", jamba);

  MambaConfig nemotron = small_hybrid(MixerKind::mamba2, {});
  nemotron.feed_forward.form = FeedForwardConfig::Form::squared_relu;
  nemotron.layers = 5;
  nemotron.blocks.push_back({.layer = 3, .parts = {PartKind::feed_forward}, .inner = 48});
  nemotron.blocks.push_back({.layer = 4, .parts = {PartKind::experts}});
  nemotron.experts = {.count = 8,
                      .chosen = 2,
                      .inner = 24,
                      .shared_inner = 40,
                      .latent = 16,
                      .routing = Routing::sigmoid,
                      .groups = 4,
                      .kept = 2,
                      .scaling = 2.5F};
  out.emplace_back("nemotron", nemotron);

  MambaConfig falcon = small_hybrid(MixerKind::mamba2, {PartKind::feed_forward});
  falcon.gated_norm = MambaConfig::GatedNorm::none;
  falcon.attention.rotated = 8;
  falcon.attention.key_factor = 0.39F;
  falcon.attention.out_factor = 0.94F;
  falcon.in_factor = 1.25F;
  falcon.out_factor = 0.24F;
  falcon.segment_factors = {0.35F, 0.25F, 0.18F, 0.5F, 0.35F};
  falcon.feed_forward.gate_factor = 0.88F;
  falcon.feed_forward.out_factor = 0.22F;
  for (BlockConfig& block : falcon.blocks) {
    if (!block.second) block.parts = {PartKind::mixer, PartKind::attention};
  }
  out.emplace_back("falcon_h1", falcon);

  MambaConfig zamba = small_hybrid(MixerKind::mamba2, {});
  zamba.feed_forward.form = FeedForwardConfig::Form::gelu;
  zamba.attention = {.heads = 4, .key_heads = 4, .head_width = 16, .scale = 0.35F, .rotated = 16};
  zamba.shared = {.count = 1, .inner = 48, .adapter_rank = 6, .attention_adapters = true};
  for (BlockConfig& block : zamba.blocks) block.parts = {PartKind::mixer};
  zamba.blocks[1].shared = 0;
  zamba.blocks[2].shared = 1;
  out.emplace_back("zamba2", zamba);

  MambaConfig plain = small_hybrid(MixerKind::mamba1, {PartKind::feed_forward});
  plain.attention.taps = 4;
  plain.attention.rotated = 4;
  out.emplace_back("state-spaces", plain);
  return out;
}

}  // namespace scute::test
