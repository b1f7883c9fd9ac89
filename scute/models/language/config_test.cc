#include "scute/models/language/config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <limits>

#include "scute/base/error.h"

namespace scute::config_test {
namespace {

using testing::HasSubstr;

/// Every part once: a mixer with attention beside it, experts, a feed-forward, a shared block.
MambaConfig every_part() {
  MambaConfig c;
  c.mixer = MixerKind::mamba2;
  c.layers = 2;
  c.width = 64;
  c.vocabulary = 160;
  c.inner = 128;
  c.heads = 16;
  c.head_width = 8;
  c.groups = 2;
  c.attention = {.heads = 4, .key_heads = 2, .head_width = 16, .scale = 0.25F, .rotated = 8};
  c.experts = {.count = 8, .chosen = 2, .inner = 32, .groups = 4, .kept = 2};
  c.shared = {.count = 1, .inner = 96, .adapter_rank = 4};
  c.blocks = {{.layer = 0, .parts = {PartKind::mixer, PartKind::attention}, .shared = 0},
              {.layer = 0, .second = true, .parts = {PartKind::experts}},
              {.layer = 1, .parts = {PartKind::feed_forward}, .inner = 96}};
  return c;
}

std::string refusal(const std::function<void(MambaConfig&)>& edit) {
  MambaConfig c = every_part();
  edit(c);
  try {
    c.check("here");
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

TEST(MambaConfigCheck, NamesTheFirstNumberThatMakesNoSense) {
  EXPECT_EQ(refusal([](MambaConfig&) {}), "");
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const std::vector<std::pair<const char*, std::function<void(MambaConfig&)>>> wrong{
      {"number of layers", [](auto& c) { c.layers = 0; }},
      {"model width", [](auto& c) { c.width = int64_t{1} << 40; }},
      {"norm epsilon", [](auto& c) { c.norm_eps = 0; }},
      {"embedding factor", [&](auto& c) { c.embedding_factor = nan; }},
      {"logit factor", [&](auto& c) { c.logit_factor = nan; }},
      {"a mixer's input", [&](auto& c) { c.in_factor = nan; }},
      {"in_proj's output", [&](auto& c) { c.segment_factors[3] = nan; }},
      {"gate factor", [&](auto& c) { c.feed_forward.gate_factor = nan; }},
      {"heads × head width", [](auto& c) { c.head_width = 9; }},
      {"groups that divides 16 heads", [](auto& c) { c.groups = 3; }},
      {"gated norm", [](auto& c) { c.gated_eps = 2; }},
      {"layer of a block", [](auto& c) { c.blocks[2].layer = 2; }},
      {"a part in every block", [](auto& c) { c.blocks[1].parts.clear(); }},
      {"feed-forward width of layer 1", [](auto& c) { c.blocks[2].inner = 0; }},
      {"number of attention heads", [](auto& c) { c.attention.heads = 0; }},
      {"number of key heads", [](auto& c) { c.attention.key_heads = 8; }},
      {"key heads that divides 4", [](auto& c) { c.attention.key_heads = 3; }},
      {"width of an attention head", [](auto& c) { c.attention.head_width = 0; }},
      {"from 0 to 16", [](auto& c) { c.attention.rotated = 18; }},
      {"an even number", [](auto& c) { c.attention.rotated = 7; }},
      {"base of the rotation", [](auto& c) { c.attention.theta = 0; }},
      {"scale of attention", [&](auto& c) { c.attention.scale = nan; }},
      {"convolution taps", [](auto& c) { c.attention.taps = 65; }},
      {"number of experts", [](auto& c) { c.experts.count = -1; }},
      {"experts from 1 to 4096", [](auto& c) { c.experts.count = kMostExperts + 1; }},
      {"experts for a token", [](auto& c) { c.experts.chosen = 9; }},
      {"width of an expert", [](auto& c) { c.experts.inner = 0; }},
      {"groups that divides 8 experts", [](auto& c) { c.experts.groups = 3; }},
      {"groups of experts that are kept", [](auto& c) { c.experts.kept = 5; }},
      {"experts in a group", [](auto& c) { c.experts.groups = 8; }},
      {"of those in the kept groups", [](auto& c) { c.experts.chosen = 5; }},
      {"scaling of experts", [&](auto& c) { c.experts.scaling = nan; }},
      {"number of shared blocks", [](auto& c) { c.shared.count = 2; }},
      {"rank of adapters", [](auto& c) { c.shared.adapter_rank = 0; }},
      {"shared blocks where a layer uses one", [](auto& c) { c.shared = {}; }},
  };
  for (const auto& [named, edit] : wrong) EXPECT_THAT(refusal(edit), HasSubstr(named));
}

TEST(MambaConfigCheck, PartsThatNoBlockHasAreNotLookedAt) {
  EXPECT_EQ(refusal([](MambaConfig& c) {
              c.blocks = {{.layer = 0, .parts = {PartKind::attention}}};
              c.shared = {};
              c.experts.count = -1;
              c.inner = c.heads = c.state = 0;
            }),
            "");
  EXPECT_THAT(refusal([](MambaConfig& c) {
                c.blocks.clear();
                c.shared = {};
                c.attention = {};
                c.inner = 0;
              }),
              HasSubstr("inner width"));
}

}  // namespace
}  // namespace scute::config_test
