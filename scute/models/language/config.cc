#include "scute/models/language/config.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "scute/base/error.h"

namespace scute {
namespace {

// The limits are 8 to 60 times what the largest released models (8 to 120 billion weights) have;
// they keep every product of two of them far below 2^63.
constexpr int64_t kWidest = 1 << 19, kMostHeads = 1 << 16, kWidestHead = 1 << 14, kMostTaps = 64;

bool uses(const MambaConfig& config, PartKind part) {
  if (config.blocks.empty()) return part == PartKind::mixer;
  return std::ranges::any_of(config.blocks,
                             [part](const BlockConfig& block) { return block.has(part); });
}

/// Each function throws an Error naming `where` and the first number that makes no sense.
struct ConfigCheck {
  std::string_view where;

  void in_range(std::string_view name, int64_t value, int64_t most, int64_t least = 1) const {
    if (value < least || value > most) {
      fail(where, fmt::format("{} from {} to {}", name, least, most), fmt::format("{}", value));
    }
  }
  void finite(std::string_view name, float value) const {
    if (!std::isfinite(value)) {
      fail(where, fmt::format("{} that is finite", name), fmt::format("{}", value));
    }
  }
  void epsilon(std::string_view name, float value) const {
    if (!(value > 0 && value < 1)) {
      fail(where, fmt::format("{} between 0 and 1", name), fmt::format("{}", value));
    }
  }
  void divides(std::string_view name, int64_t part, std::string_view whole, int64_t count) const {
    if (count % part != 0) {
      fail(where, fmt::format("{} that divides {} {}", name, count, whole),
           fmt::format("{}", part));
    }
  }

  void block(const BlockConfig& block, const MambaConfig& c) const;
  void mixer(const MambaConfig& c) const;
  void mamba2(const MambaConfig& c) const;
  void attention(const AttentionConfig& a) const;
  void experts(const ExpertsConfig& e) const;
  void shared(const MambaConfig& c) const;
};

void ConfigCheck::block(const BlockConfig& block, const MambaConfig& c) const {
  in_range("the layer of a block", block.layer, c.layers - 1, 0);
  if (block.parts.empty()) fail(where, "a part in every block", "a block of none");
  if (block.has(PartKind::feed_forward)) {
    in_range(fmt::format("the feed-forward width of layer {}", block.layer), block.inner, kWidest);
  }
  if (block.shared >= 0 && c.shared.count == 0) {
    fail(where, "shared blocks where a layer uses one", "none");
  }
}

void ConfigCheck::mixer(const MambaConfig& c) const {
  in_range("the inner width", c.inner, kWidest);
  in_range("the state size", c.state, 1 << 14);
  in_range("the number of convolution taps", c.taps, kMostTaps);
  finite("a factor on a mixer's input", c.in_factor);
  finite("a factor on a mixer's output", c.out_factor);
  for (const float factor : c.segment_factors) finite("a factor on in_proj's output", factor);
  if (c.mixer == MixerKind::mamba2) return mamba2(c);
  in_range("the dt rank", c.dt_rank, 1 << 17);
  if (c.inner_norms != MambaConfig::InnerNorms::none) {
    epsilon("an epsilon of the norms of dt, B and C", c.inner_eps);
  }
}

void ConfigCheck::mamba2(const MambaConfig& c) const {
  in_range("the number of heads", c.heads, kMostHeads);
  in_range("the head width", c.head_width, kWidestHead);
  in_range("the number of groups", c.groups, 1 << 12);
  if (c.heads * c.head_width != c.inner) {
    fail(where, fmt::format("heads × head width = inner width {}", c.inner),
         fmt::format("{} × {}", c.heads, c.head_width));
  }
  divides("a number of groups", c.groups, "heads", c.heads);
  if (!(c.dt_min >= 0 && c.dt_min <= c.dt_max)) {
    fail(where, "time step limits with 0 <= least <= most",
         fmt::format("{}, {}", c.dt_min, c.dt_max));
  }
  if (c.gated_eps != 0) epsilon("an epsilon of the gated norm", c.gated_eps);
}

void ConfigCheck::attention(const AttentionConfig& a) const {
  in_range("the number of attention heads", a.heads, kMostHeads);
  in_range("the number of key heads", a.key_heads, a.heads);
  divides("a number of key heads", a.key_heads, "attention heads", a.heads);
  in_range("the width of an attention head", a.head_width, kWidestHead);
  in_range("the attention's width (heads × head width)", a.heads * a.head_width, kWidest);
  in_range("the number of rotated dimensions of a head", a.rotated, a.head_width, 0);
  if (a.rotated % 2 != 0) {
    fail(where, "an even number of rotated dimensions of a head", fmt::format("{}", a.rotated));
  }
  if (!(a.theta > 0 && std::isfinite(a.theta))) {
    fail(where, "a base of the rotation above 0", fmt::format("{}", a.theta));
  }
  in_range("the number of attention's convolution taps", a.taps, kMostTaps, 0);
  finite("a scale of attention", a.scale);
  finite("a factor on attention's input", a.in_factor);
  finite("a factor on keys", a.key_factor);
  finite("a factor on attention's output", a.out_factor);
}

void ConfigCheck::experts(const ExpertsConfig& e) const {
  in_range("the number of experts", e.count, kMostExperts);
  in_range("the number of experts for a token", e.chosen, e.count);
  in_range("the width of an expert", e.inner, kWidest);
  in_range("the width of the shared expert", e.shared_inner, kWidest, 0);
  in_range("the width in which experts work", e.latent, 1 << 17, 0);
  in_range("the number of groups of experts", e.groups, e.count);
  divides("a number of groups", e.groups, "experts", e.count);
  in_range("the number of groups of experts that are kept", e.kept, e.groups);
  const int64_t size = e.count / e.groups;
  // A group's mark is the sum of its two best.
  if (e.groups > 1) in_range("the number of experts in a group", size, kMostExperts, 2);
  in_range("the number of experts for a token, of those in the kept groups", e.chosen,
           size * e.kept);
  finite("a scaling of experts", e.scaling);
}

void ConfigCheck::shared(const MambaConfig& c) const {
  const auto users = std::ranges::count_if(c.blocks, [](const auto& b) { return b.shared >= 0; });
  in_range("the number of shared blocks, at most one for each layer that uses one", c.shared.count,
           users);
  in_range("the feed-forward width of shared blocks", c.shared.inner, kWidest);
  in_range("the rank of adapters", c.shared.adapter_rank, 1 << 17);
}

}  // namespace

bool BlockConfig::has(PartKind part) const { return std::ranges::find(parts, part) != parts.end(); }

std::vector<BlockConfig> MambaConfig::all_blocks() const {
  if (!blocks.empty()) return blocks;
  std::vector<BlockConfig> out;
  for (int64_t i = 0; i < layers; ++i) out.push_back({.layer = i, .parts = {PartKind::mixer}});
  return out;
}

std::vector<int64_t> MambaConfig::shared_users(int64_t number) const {
  std::vector<int64_t> out;
  for (const BlockConfig& block : blocks) {
    if (block.shared >= 0 && block.shared % shared.count == number) out.push_back(block.layer);
  }
  return out;
}

std::vector<PartKind> MambaConfig::kinds_of_layer(int64_t layer) const {
  std::vector<PartKind> out;
  const auto add = [&](PartKind kind) {
    if (std::ranges::find(out, kind) == out.end()) out.push_back(kind);
  };
  for (const BlockConfig& block : all_blocks()) {
    if (block.layer != layer) continue;
    std::ranges::for_each(block.parts, add);
    if (block.shared < 0) continue;
    add(PartKind::attention);
    add(PartKind::feed_forward);
  }
  return out;
}

std::vector<int64_t> MambaConfig::feed_forward_widths() const {
  std::set<int64_t> out;
  for (const BlockConfig& block : blocks) {
    if (block.has(PartKind::feed_forward)) out.insert(block.inner);
    if (block.has(PartKind::experts) && experts.shared_inner > 0) out.insert(experts.shared_inner);
  }
  if (shared.count > 0) out.insert(shared.inner);
  return {out.begin(), out.end()};
}

bool MambaConfig::pure() const {
  MambaConfig plain = *this;
  plain.blocks.clear();
  plain.in_factor = plain.out_factor = 1;
  plain.embedding_factor = plain.residual_factor = plain.logit_factor = 1;
  plain.segment_factors = MambaConfig().segment_factors;
  return *this == plain;
}

int64_t MambaConfig::projected() const {
  return mixer == MixerKind::mamba1 ? 2 * inner : 2 * inner + 2 * groups * state + heads;
}

int64_t MambaConfig::conv_channels() const {
  return mixer == MixerKind::mamba1 ? inner : inner + 2 * groups * state;
}

void MambaConfig::check(std::string_view where) const {
  const ConfigCheck check{where};
  check.in_range("the number of layers", layers, 4096);
  check.in_range("the model width", width, 1 << 17);
  check.in_range("the vocabulary", vocabulary, 1 << 24);
  check.epsilon("a norm epsilon", norm_eps);
  check.finite("an embedding factor", embedding_factor);
  check.finite("a residual factor", residual_factor);
  check.finite("a logit factor", logit_factor);
  for (const BlockConfig& block : blocks) check.block(block, *this);
  if (shared.count != 0) check.shared(*this);
  if (uses(*this, PartKind::mixer)) check.mixer(*this);
  if (uses(*this, PartKind::attention) || shared.count != 0) check.attention(attention);
  if (uses(*this, PartKind::experts)) check.experts(experts);
  check.finite("a gate factor", feed_forward.gate_factor);
  check.finite("a factor on a feed-forward's output", feed_forward.out_factor);
}

}  // namespace scute
