#include "scute/models/lazy_list.h"

#include <gtest/gtest.h>

#include <atomic>
#include <string>
#include <vector>

#include "scute/base/error.h"
#include "scute/base/threads.h"

namespace scute::lazy_list_test {
namespace {

struct CountedBlocks {
  static constexpr int64_t kCount = 40;
  std::vector<std::atomic<int>> packed = std::vector<std::atomic<int>>(kCount);
  LazyList<float> blocks;
  CountedBlocks() {
    for (int64_t i = 0; i < kCount; ++i) {
      blocks.add([this, i] {
        ++packed[static_cast<size_t>(i)];
        return static_cast<float>(i);
      });
    }
  }
  int64_t number() const {
    return std::ranges::count_if(packed, [](const auto& n) { return n == 1; });
  }
};

TEST(LazyList, AreNotPackedBeforeTheyAreNeeded) {
  CountedBlocks counted;
  EXPECT_EQ(counted.number(), 0);
  EXPECT_EQ(counted.blocks.peek(0), nullptr);
  const scute::Run alone;
  EXPECT_EQ(counted.blocks.at(0, alone), 0);
  EXPECT_EQ(counted.number(), 1);  // the first product waits for its own block
  EXPECT_EQ(counted.blocks.at(7), 7);
  EXPECT_EQ(counted.number(), 2);
  ASSERT_NE(counted.blocks.peek(7), nullptr);
  EXPECT_EQ(counted.blocks.peek(7), &counted.blocks.at(7));
}

TEST(LazyList, IdleThreadsPackTheNext) {
  CountedBlocks counted;
  const Threads threads(4);
  scute::Run run;
  run.use(threads.team());
  counted.blocks.at(0, run);
  EXPECT_GT(counted.number(), 1);
  EXPECT_LE(counted.number(), 16);
}

TEST(LazyList, ArePackedOnceHoweverManyAsk) {
  CountedBlocks counted;
  const LazyList<float> copy = counted.blocks;
  const Threads threads(5);
  std::atomic<int> wrong{0};
  threads.for_each(8, [&](int64_t job, int worker) {
    scute::Run run;
    run.use(threads.team(worker));
    for (int64_t i = 0; i < CountedBlocks::kCount; ++i) {
      const LazyList<float>& from = job % 2 == 0 ? counted.blocks : copy;
      if (from.at(i, run) != static_cast<float>(i)) ++wrong;
    }
  });
  EXPECT_EQ(wrong, 0);
  EXPECT_EQ(counted.number(), CountedBlocks::kCount);
}

TEST(LazyList, WhatIsWrongWithOneIsSaidWheneverItIsAsked) {
  LazyList<float> blocks;
  blocks.add(3.0F);
  blocks.add([]() -> float { fail("layer_1", "a block", "none"); });
  const scute::Run alone;
  EXPECT_EQ(blocks.at(0, alone), 3);
  for (int i = 0; i < 2; ++i) {
    EXPECT_THROW(blocks.at(1, alone), Error);
    EXPECT_THROW(blocks.at(1), Error);
    EXPECT_EQ(blocks.peek(1), nullptr);
  }
  LazyList<float> other;
  other.add(5.0F);
  other.add(6.0F);
  blocks.share(1, other);
  EXPECT_EQ(&blocks.at(1), &other.at(1));
}

}  // namespace
}  // namespace scute::lazy_list_test
