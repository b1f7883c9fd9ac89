#include "scute/language/silent_experts.h"

#include <gtest/gtest.h>

#include <cmath>

namespace scute::silent_experts_test {
namespace {

MambaConfig with_experts() {
  MambaConfig out;
  out.experts.count = 6;
  out.blocks = {{.layer = 0, .parts = {PartKind::mixer}},
                {.layer = 1, .parts = {PartKind::experts}},
                {.layer = 2, .parts = {PartKind::experts}}};
  return out;
}

TEST(SilentExperts, AreThoseOfTheLayersThatHaveExperts) {
  const auto found = silent_experts(
      with_experts(), {"layer_1.experts.5.down_proj:input", "layer_1.experts.2.down_proj:input",
                       "layer_0.experts.1.down_proj:input", "layer_2.router:output"});
  EXPECT_EQ(found, (std::vector<SilentExperts>{{1, {2, 5}, 6}}));
  EXPECT_EQ(sentence_of(found.front(), 98),
            "layer 1: 2 of 6 experts saw no token (2, 5); about 527 more samples would reach them "
            "with 99 %");
}

TEST(SilentExperts, SoManySamplesReachThemWithThatProbability) {
  for (const int64_t samples : {1, 10, 512}) {
    for (const int64_t silent : {1, 5, 60}) {
      const double p = 1 / (static_cast<double>(samples) + 2);
      const auto reached = [&](int64_t more) {
        return std::pow(1 - std::pow(1 - p, static_cast<double>(more)),
                        static_cast<double>(silent));
      };
      const int64_t more = samples_to_reach(samples, silent);
      EXPECT_GE(reached(more), 0.99 - 1e-12);
      EXPECT_LT(reached(more - 1), 0.99);
    }
  }
}

TEST(SilentExperts, TheSiteOfOneExpertIsKnownByItsNumber) {
  EXPECT_TRUE(is_expert_site("layer_3.experts.12.down_proj:input"));
  EXPECT_TRUE(is_expert_site("layer_3.experts.12.down_proj:input@rotated"));
  EXPECT_FALSE(is_expert_site("layer_3.experts.down_proj:input"));
  EXPECT_FALSE(is_expert_site("layer_3.experts.down_proj:input@rotated"));
  EXPECT_FALSE(is_expert_site("layer_3.shared_experts.down_proj:input"));
  EXPECT_FALSE(is_expert_site("layer_3.down_proj:input"));
}

}  // namespace
}  // namespace scute::silent_experts_test
