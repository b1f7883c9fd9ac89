#include "scute/models/language/blocks.h"

#include <gtest/gtest.h>

#include <atomic>
#include <string>
#include <vector>

#include "scute/base/error.h"
#include "scute/base/threads.h"

namespace scute {
namespace {

MambaConfig narrow() {
  MambaConfig c;
  c.layers = 1;
  c.width = 8;
  c.vocabulary = 4;
  c.inner = 16;
  c.state = 2;
  c.taps = 2;
  c.dt_rank = 1;
  return c;
}

/// A block that is known by its norm's first element.
LanguageBlock numbered_block(float number) {
  const MambaConfig c = narrow();
  Weights weights("blocks");
  const auto add = [&](const std::string& name, Shape shape) {
    weights.add("m." + name, Tensor(DType::f32, std::move(shape)));
  };
  add("in_proj.weight", {c.projected(), c.width});
  add("conv1d.weight", {c.conv_channels(), 1, c.taps});
  add("conv1d.bias", {c.conv_channels()});
  add("out_proj.weight", {c.width, c.inner});
  add("x_proj.weight", {c.dt_rank + 2 * c.state, c.inner});
  add("dt_proj.weight", {c.inner, c.dt_rank});
  add("dt_proj.bias", {c.inner});
  add("A_log", {c.inner, c.state});
  add("D", {c.inner});
  WeightReader reader(weights);
  const Mamba1Mixer::Raw raw(reader, "m.", c);
  SiteGrids grids;
  SiteList list;
  return {{number}, Mamba1Mixer(raw, c, {}, 0, {}, Mamba1Sites(c, {}, "layer_0.", list), grids)};
}

struct CountedBlocks {
  static constexpr int64_t kCount = 40;
  std::vector<std::atomic<int>> packed = std::vector<std::atomic<int>>(kCount);
  LanguageBlocks blocks;
  CountedBlocks() {
    for (int64_t i = 0; i < kCount; ++i) {
      blocks.add([this, i] {
        ++packed[static_cast<size_t>(i)];
        return numbered_block(static_cast<float>(i));
      });
    }
  }
  int64_t number() const {
    return std::ranges::count_if(packed, [](const auto& n) { return n == 1; });
  }
};

TEST(LanguageBlocks, AreNotPackedBeforeTheyAreNeeded) {
  CountedBlocks counted;
  EXPECT_EQ(counted.number(), 0);
  EXPECT_EQ(counted.blocks.peek(0), nullptr);
  const scute::Run alone;
  EXPECT_EQ(counted.blocks.at(0, alone).norm, std::vector<float>{0});
  EXPECT_EQ(counted.number(), 1);  // the first product waits for its own block
  EXPECT_EQ(counted.blocks.at(7).norm, std::vector<float>{7});
  EXPECT_EQ(counted.number(), 2);
  ASSERT_NE(counted.blocks.peek(7), nullptr);
  EXPECT_EQ(counted.blocks.peek(7), &counted.blocks.at(7));
}

TEST(LanguageBlocks, IdleThreadsPackTheNext) {
  CountedBlocks counted;
  const Threads threads(4);
  scute::Run run;
  run.use(threads.team());
  counted.blocks.at(0, run);
  EXPECT_GT(counted.number(), 1);
  EXPECT_LE(counted.number(), 16);
}

TEST(LanguageBlocks, ArePackedOnceHoweverManyAsk) {
  CountedBlocks counted;
  const LanguageBlocks copy = counted.blocks;
  const Threads threads(5);
  std::atomic<int> wrong{0};
  threads.for_each(8, [&](int64_t job, int worker) {
    scute::Run run;
    run.use(threads.team(worker));
    for (int64_t i = 0; i < CountedBlocks::kCount; ++i) {
      const LanguageBlocks& from = job % 2 == 0 ? counted.blocks : copy;
      if (from.at(i, run).norm.front() != static_cast<float>(i)) ++wrong;
    }
  });
  EXPECT_EQ(wrong, 0);
  EXPECT_EQ(counted.number(), CountedBlocks::kCount);
}

TEST(LanguageBlocks, WhatIsWrongWithOneIsSaidWheneverItIsAsked) {
  LanguageBlocks blocks;
  blocks.add(numbered_block(3));
  blocks.add([]() -> LanguageBlock { fail("layer_1", "a block", "none"); });
  const scute::Run alone;
  EXPECT_EQ(blocks.at(0, alone).norm, std::vector<float>{3});
  for (int i = 0; i < 2; ++i) {
    EXPECT_THROW(blocks.at(1, alone), Error);
    EXPECT_THROW(blocks.at(1), Error);
    EXPECT_EQ(blocks.peek(1), nullptr);
  }
  LanguageBlocks other;
  other.add(numbered_block(5));
  other.add(numbered_block(6));
  blocks.share(1, other);
  EXPECT_EQ(&blocks.at(1), &other.at(1));
}

}  // namespace
}  // namespace scute
