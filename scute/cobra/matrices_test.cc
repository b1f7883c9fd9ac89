#include "scute/cobra/matrices.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "scute/base/error.h"
#include "scute/cobra/random.h"

namespace scute::matrices_test {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::ThrowsMessage;

CobraConfig released() {
  CobraConfig out = named_vision_config("cobra+3b-vision");
  out.language.layers = 3;
  out.language.mixer = MixerKind::mamba1;
  return out;
}

const CobraMatrix& find(const std::vector<CobraMatrix>& all, const std::string& name) {
  const auto found = std::ranges::find(all, name, &CobraMatrix::name);
  if (found == all.end()) throw Error("no " + name);
  return *found;
}

TEST(CobraMatrices, AreAllThatTheReleasedModelComputes) {
  const auto all = cobra_matrices(released());
  // 23 blocks of DINOv2, 26 of SigLIP, 4 matrices each, a patch embedding each; 3 of the projector.
  EXPECT_EQ(all.size(), 23u * 4 + 26u * 4 + 2 + 3);
  const CobraMatrix& qkv = find(all, "vision.dino.blocks.22.attn.qkv");
  EXPECT_EQ(qkv.tensor, "blocks.22.attn.qkv");
  EXPECT_EQ(qkv.bucket, "vision.dino");
  EXPECT_EQ(qkv.site(), "vision.dino.blocks.22.attn.qkv:input");
  EXPECT_EQ(find(all, "vision.siglip.blocks.0.mlp.fc2").inputs, 4304);
  EXPECT_EQ(find(all, "vision.siglip.patch_embed.proj").inputs, 3 * 14 * 14);
  EXPECT_EQ(find(all, "projector.2").part, 2u);
  EXPECT_EQ(find(all, "projector.2").tensor, "projector.2");
}

TEST(CobraMatrices, OfOtherProjectors) {
  CobraConfig config = released();
  config.projector = ProjectorKind::linear;
  EXPECT_EQ(cobra_matrices(config).back().name, "projector.0");
  EXPECT_EQ(cobra_matrices(config).back().tensor, "projector");
  config.projector = ProjectorKind::fused_ldpnet;  // its convolution stays in floats
  EXPECT_EQ(cobra_matrices(config).back().name, "projector.2");
}

TEST(CobraMatrices, GroupsAreTheNearestThatDivide) {
  EXPECT_EQ(group_for(4304, 128), 269);  // 16 · 269
  EXPECT_EQ(group_for(1152, 128), 128);
  EXPECT_EQ(group_for(8704, 128), 128);
  EXPECT_EQ(group_for(588, 128), 147);    // 147 / 128 < 128 / 98
  EXPECT_EQ(group_for(100, 128), 100);    // no more than a group
  EXPECT_EQ(group_for(1021, 128), 1021);  // a prime: one scale an output
  EXPECT_EQ(group_for(2 * 1021, 128), 2 * 1021);
  EXPECT_EQ(group_for(4304, 32), 16);
}

TEST(CobraMatrices, GlobsChooseMatrices) {
  const CobraConfig config = released();
  const MatrixFilter all(config, {}, {});
  EXPECT_TRUE(all.chosen("projector.4"));
  const MatrixFilter some(config, {"vision.dino.*", "projector.2"}, {"*.blocks.0.*"});
  EXPECT_TRUE(some.chosen("vision.dino.blocks.1.attn.qkv"));
  EXPECT_TRUE(some.chosen("projector.2"));
  EXPECT_FALSE(some.chosen("vision.dino.blocks.0.attn.qkv"));
  EXPECT_FALSE(some.chosen("vision.siglip.blocks.1.attn.qkv"));
  EXPECT_FALSE(some.layer_chosen(config.language, 0));
}

TEST(CobraMatrices, LayersOfTheLanguageModelAreChosenWhole) {
  const CobraConfig config = released();
  const MatrixFilter some(config, {"layer_1", "layer_2.*"}, {"layer_2"});
  EXPECT_FALSE(some.layer_chosen(config.language, 0));
  EXPECT_TRUE(some.layer_chosen(config.language, 1));
  EXPECT_FALSE(some.layer_chosen(config.language, 2));
  const MatrixFilter part(config, {"layer_1.in_proj"}, {});
  EXPECT_THAT([&] { part.layer_chosen(config.language, 1); },
              ThrowsMessage<Error>(testing::AllOf(HasSubstr("layer_1"), HasSubstr("1 of 4"))));
}

TEST(CobraMatrices, AGlobThatMatchesNothingNamesTheNearest) {
  EXPECT_THAT([] { MatrixFilter(released(), {"vision.dino.block.0.attn.qkv"}, {}); },
              ThrowsMessage<Error>(testing::AllOf(HasSubstr("--include"),
                                                  HasSubstr("vision.dino.blocks.0.attn.qkv"))));
  EXPECT_THAT([] { MatrixFilter(released(), {}, {"layer_3"}); },
              ThrowsMessage<Error>(testing::AllOf(HasSubstr("--exclude"), HasSubstr("layer_"))));
}

}  // namespace
}  // namespace scute::matrices_test
