#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <cmath>
#include <set>
#include <thread>
#include <vector>

#include "scute/base/checked.h"
#include "scute/base/hash.h"
#include "scute/base/names.h"
#include "scute/base/random.h"
#include "scute/base/threads.h"

namespace scute::base_test {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

TEST(Checked, OverflowNamesTheFile) {
  EXPECT_EQ(checked_mul(int64_t{1} << 31, int64_t{1} << 31, "f"), int64_t{1} << 62);
  EXPECT_THROW(checked_mul(int64_t{1} << 32, int64_t{1} << 31, "f"), Error);
  EXPECT_THROW(checked_add(INT64_MAX, 1, "f"), Error);
  EXPECT_EQ(narrow<int8_t>(127, "f"), 127);
  try {
    narrow<int8_t>(128, "model.bin");
    FAIL();
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(), "model.bin: expected a value in range, found 128");
  }
}

TEST(Sha256, MatchesTheStandardsExamples) {
  EXPECT_EQ(sha256("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(sha256(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  Sha256 parts;
  parts.update("a");
  parts.update("bc");
  EXPECT_EQ(parts.hex(), sha256("abc"));
}

TEST(Random, IsTheSameSequenceForever) {
  // splitmix64 from seed 1234567, as published with the algorithm.
  Random random(1234567);
  EXPECT_EQ(random.next(), 6457827717110365317u);
  EXPECT_EQ(random.next(), 3203168211198807973u);
}

TEST(Random, ShuffleIsAPermutationThatDependsOnTheSeed) {
  std::vector<int> a(100), b(100);
  for (int i = 0; i < 100; ++i) a[static_cast<size_t>(i)] = b[static_cast<size_t>(i)] = i;
  Random(1).shuffle(std::span(a));
  Random(2).shuffle(std::span(b));
  EXPECT_NE(a, b);
  EXPECT_EQ(std::set<int>(a.begin(), a.end()).size(), 100u);
}

TEST(Random, NormalHasMeanZeroAndVarianceOne) {
  Random random(7);
  double sum = 0, squares = 0;
  constexpr int kDraws = 100000;
  for (int i = 0; i < kDraws; ++i) {
    const double x = random.normal();
    sum += x;
    squares += x * x;
  }
  // Standard errors: 1/sqrt(n) = 0.0032 and sqrt(2/n) = 0.0045; five of each.
  EXPECT_NEAR(sum / kDraws, 0, 0.016);
  EXPECT_NEAR(squares / kDraws, 1, 0.023);
}

TEST(Threads, EveryIndexOnceAndWorkersInRange) {
  for (const int count : {1, 2, 5}) {
    std::vector<std::atomic<int>> seen(1000);
    Threads(count).for_each(1000, [&](int64_t i, int worker) {
      EXPECT_LT(worker, count);
      ++seen[static_cast<size_t>(i)];
    });
    for (const auto& times : seen) EXPECT_EQ(times, 1);
  }
}

TEST(Threads, ThrowsTheLowestFailedIndexAndStops) {
  std::atomic<int> started{0};
  try {
    Threads(2).for_each(1000000, [&](int64_t i, int) {
      ++started;
      if (i >= 3) throw Error(std::to_string(i));
    });
    FAIL();
  } catch (const Error& error) {
    EXPECT_THAT(std::string(error.what()), testing::AnyOf("3", "4"));
  }
  EXPECT_LT(started, 1000);
  EXPECT_THROW(Threads(-1), Error);
  Threads(3).for_each(0, [](int64_t, int) { FAIL(); });
}

TEST(Threads, IdleOnesHelpInsideWork) {
  const Threads threads(3);
  std::atomic<int> parts{0};
  // Fewer indices than threads; every loop inside is shared by whoever is idle.
  threads.for_each(2, [&](int64_t, int worker) {
    for (int i = 0; i < 1000; ++i) {
      std::vector<int> seen(7);
      threads.team(worker).share(7, [&](int64_t part) noexcept {
        ++seen[static_cast<size_t>(part)];
        ++parts;
      });
      EXPECT_EQ(seen, std::vector<int>(7, 1));
    }
  });
  EXPECT_EQ(parts, 2 * 1000 * 7);
  EXPECT_EQ(Team().size(), 1);
  EXPECT_EQ(threads.team().size(), 3);
}

/// Passes when two threads are inside the loop at the same time.
TEST(Threads, ShareHasHelpersAlsoOnceTheySleep) {
  const Threads threads(2);
  for (const int sleep_ms : {0, 20}) {
    std::this_thread::sleep_for(std::chrono::milliseconds(sleep_ms));
    std::atomic<int> inside{0};
    threads.team().share(2, [&](int64_t) noexcept {
      ++inside;
      const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(20);
      while (inside < 2 && std::chrono::steady_clock::now() < until) std::this_thread::yield();
    });
    EXPECT_EQ(inside, 2);
  }
}

TEST(Threads, WorkInsideWorkAndFromSeveralThreads) {
  const Threads threads(2);
  std::atomic<int> seen{0};
  const auto work = [&] {
    threads.for_each(20, [&](int64_t, int worker) {
      threads.for_each(5, [&](int64_t, int inside) {
        threads.team(inside).share(3, [&](int64_t) noexcept { ++seen; });
      });
      threads.team(worker).share(3, [&](int64_t) noexcept { ++seen; });
    });
  };
  // Often, because waiting for oneself in somebody else's work once took chance to show.
  constexpr int kTimes = 100;
  for (int i = 0; i < kTimes; ++i) {
    std::thread other(work);
    work();
    other.join();
  }
  EXPECT_EQ(seen, kTimes * 2 * 20 * (5 * 3 + 3));
}

TEST(Glob, MatchesWholeNames) {
  EXPECT_TRUE(glob_match("*", ""));
  EXPECT_TRUE(glob_match("layer_*.x_proj:input", "layer_13.x_proj:input"));
  EXPECT_FALSE(glob_match("layer_*.x_proj", "layer_13.x_proj:input"));
  EXPECT_TRUE(glob_match("layer_[0-2].*", "layer_1.z_act:input"));
  EXPECT_FALSE(glob_match("layer_[!0-2].*", "layer_1.z_act:input"));
  EXPECT_TRUE(glob_match("a?c,*:output", "x:output"));
  EXPECT_TRUE(glob_match("a[b", "a[b"));
  EXPECT_FALSE(glob_match("*a*a*a*a*a*a*b", std::string(2000, 'a')));
}

TEST(Names, SuggestsTheNearest) {
  const std::vector<std::string> names{"layer_0.x_proj:input", "layer_0.z_act:input",
                                       "lm_head:input"};
  EXPECT_THAT(closest_names("layer_0.xproj:input", names, 1), ElementsAre("layer_0.x_proj:input"));
  EXPECT_THAT(closest_names("lm_head", names, 1), ElementsAre("lm_head:input"));
  EXPECT_THAT(closest_names("zzzzzzzzzzzz", names), IsEmpty());
  EXPECT_EQ(did_you_mean("auot", {"auto", "tail"}), "; did you mean auto?");
  EXPECT_EQ(did_you_mean("zzzzzzzz", {"auto", "tail"}), "");
}

TEST(Names, FirstFewNames) {
  EXPECT_EQ(first_few({}), "");
  EXPECT_EQ(first_few({"a", "b"}), "a, b");
  EXPECT_EQ(first_few({"a", "b", "c", "d", "e"}), "a, b, c and 2 more");
  EXPECT_EQ(first_few({"a", "b", "c"}, 1), "a and 2 more");
}

TEST(BaseName, IsTheLastNameWithOrWithoutASlash) {
  EXPECT_EQ(base_name("a/b.txt"), "b.txt");
  EXPECT_EQ(base_name("pictures/"), "pictures");
  EXPECT_EQ(base_name("a/b//"), "b");
  EXPECT_EQ(base_name("a/./b/."), "b");
  EXPECT_EQ(base_name("b"), "b");
  EXPECT_EQ(base_name(".."), "..");
  EXPECT_EQ(base_name("/"), "");
  EXPECT_EQ(base_name(""), "");
}

}  // namespace
}  // namespace scute::base_test
