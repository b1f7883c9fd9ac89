#include "scute/recipe/measure.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <numeric>
#include <thread>

#include "scute/base/error.h"

namespace scute::measure_test {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::IsEmpty;
using testing::Not;

/// Two sites side by side are a third one; the fourth shows nothing.
std::vector<Site> sites() {
  return {{"left", {1}, Site::Extent::per_token, 0},
          {"right", {1}, Site::Extent::per_token, 1},
          {"both", {2}, Site::Extent::per_token, 2, {0, 1}},
          {"never", {1}, Site::Extent::per_token, 3}};
}

void show_value(Run& run, size_t site, float value) { run.pass(sites()[site], {&value, 1, 1}); }

/// Sample i shows i + 1 on the left and −i on the right.
void show_numbers(int64_t i, scute::Run& run) {
  show_value(run, 0, static_cast<float>(i + 1));
  show_value(run, 1, static_cast<float>(-i));
}

std::map<std::string, Statistic> measured(int64_t count, int threads) {
  Measurement measurement(sites(), {}, {.threads = threads}, count);
  EXPECT_EQ(measurement.run(std::vector<Sample>(static_cast<size_t>(count)), show_numbers), count);
  EXPECT_FALSE(measurement.interrupted());
  EXPECT_THAT(measurement.silent_sites(), ElementsAre("never"));
  return measurement.take();
}

TEST(Measurement, IsTheSameForAnyNumberOfThreads) {
  const auto alone = measured(300, 1);
  EXPECT_EQ(alone.at("left").count, 300U);
  EXPECT_EQ(alone.at("left").max, 300);
  EXPECT_EQ(alone.at("right").min, -299);
  for (const int threads : {2, 3, 8, 400}) EXPECT_EQ(measured(300, threads), alone) << threads;
}

TEST(Measurement, SitesSideBySideAreAddedUpAndSilentOnesLeftOut) {
  const auto seen = measured(4, 2);
  EXPECT_EQ(seen.at("both").count, 8U);
  EXPECT_EQ(seen.at("both").min, -3);
  EXPECT_EQ(seen.at("both").max, 4);
  EXPECT_EQ(seen.at("both").samples, 4U);
  EXPECT_THAT(seen, Not(Contains(testing::Key("never"))));
}

TEST(Measurement, TellsProgressInUnitsAscendingOverAllItsRuns) {
  std::vector<int64_t> told;
  const auto note = [&](int64_t done, int64_t total) {
    told.push_back(done);
    EXPECT_EQ(total, 22);
  };
  Measurement measurement(sites(), {}, {.threads = 3, .progress = note}, 22);
  const std::vector<Sample> samples{{0, 5}, {1, 4}, {2, 2}};
  for (int i = 0; i < 2; ++i) EXPECT_EQ(measurement.run(samples, show_numbers), 3);
  EXPECT_TRUE(std::ranges::is_sorted(told));
  EXPECT_THAT(told, testing::AllOf(Contains(5), Contains(11), Contains(16)));
  EXPECT_EQ(told.back(), 22);
}

/// Sample i takes longer the lower it is: later ones are finished first.
void show_slowly(int64_t i, scute::Run& run) {
  show_numbers(i, run);
  std::this_thread::sleep_for(std::chrono::milliseconds(20 - 4 * (i % 5)));
}

TEST(Measurement, WhatCountsIsAlwaysTheFirstSamples) {
  for (const int64_t wanted : {1, 4, 6}) {
    std::atomic<bool> stop{false};
    const auto note = [&](int64_t done, int64_t) { stop = stop || done >= wanted; };
    Measurement measurement(sites(), {}, {.threads = 4, .progress = note, .cancelled = &stop}, 40);
    const int64_t finished = measurement.run(std::vector<Sample>(40), show_slowly);
    EXPECT_TRUE(measurement.interrupted());
    EXPECT_GE(finished, wanted);
    EXPECT_LT(finished, 40);
    EXPECT_EQ(measurement.take(), measured(finished, 1));
    EXPECT_EQ(measurement.run(std::vector<Sample>(3), show_numbers), 0) << "none is begun later";
  }
}

TEST(Measurement, ACancellationIsNoticedInsideASampleAndLeavesNoTrace) {
  std::atomic<bool> stop{false};
  Measurement measurement(sites(), {}, {.threads = 2, .cancelled = &stop}, 4);
  std::atomic<int64_t> past{0};
  const int64_t finished = measurement.run(std::vector<Sample>(4), [&](int64_t i, scute::Run& run) {
    show_numbers(i, run);
    if (i < 2) return;
    stop = true;
    run.wants({"not asked for", {1}, Site::Extent::per_token, 9});
    ++past;
  });
  // Samples 0 and 1 need not have been added: the other worker may still be in one of them.
  EXPECT_LE(finished, 2);
  EXPECT_EQ(past, 0) << "the model went on";
  EXPECT_TRUE(measurement.interrupted());
  EXPECT_EQ(measurement.take(), measured(finished, 1));
}

TEST(Measurement, ASampleOfAnyLengthIsGivenUpWithinASecond) {
  using Clock = std::chrono::steady_clock;
  std::atomic<bool> stop{false};
  Clock::time_point asked;
  Measurement measurement(sites(), {}, {.threads = 2, .cancelled = &stop}, 2);
  std::jthread other([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(30));
    asked = Clock::now();
    stop = true;
  });
  const int64_t finished = measurement.run(std::vector<Sample>(2), [](int64_t, scute::Run& run) {
    for (int i = 0; i < 3000; ++i) {  // 30 s
      show_value(run, 0, 1);
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
  });
  EXPECT_LT(Clock::now() - asked, std::chrono::seconds(1));
  EXPECT_EQ(finished, 0);
  EXPECT_THAT(measurement.take(), IsEmpty());
  EXPECT_EQ(measurement.silent_sites().size(), 3U);
}

TEST(Measurement, TheLowestSampleThatFailedIsTheErrorAndNothingHangs) {
  for (const int threads : {1, 2, 7}) {
    Measurement measurement(sites(), {}, {.threads = threads}, 50);
    try {
      measurement.run(std::vector<Sample>(50), [](int64_t i, scute::Run& run) {
        show_numbers(i, run);
        if (i >= 5) fail("sample " + std::to_string(i), "nothing", "a failure");
      });
      FAIL();
    } catch (const Error& error) {
      EXPECT_THAT(error.what(), testing::StartsWith("sample 5:")) << threads;
    }
  }
}

TEST(Measurement, SubsamplesByTheSamplesOwnNumber) {
  const auto of = [](const std::vector<Sample>& samples, int threads) {
    Measurement measurement(sites(), {.most_values = 8, .seed = 3}, {.threads = threads}, 2);
    measurement.run(samples, [](int64_t, scute::Run& run) {
      std::vector<float> values(100);
      std::iota(values.begin(), values.end(), 1.0F);
      run.pass(sites()[0], {values.data(), 1, 100});
    });
    return measurement.take();
  };
  EXPECT_EQ(of({{7}, {9}}, 1), of({{9}, {7}}, 2));
  EXPECT_NE(of({{7}, {9}}, 1), of({{7}, {8}}, 1));
  EXPECT_EQ(of({{7}, {9}}, 1).at("left").count, 16U);
}

TEST(Measurement, AnotherTapIsShownSampleAfterSampleBeforeProgressIsTold) {
  class Last : public Tap {
   public:
    bool wants(const Site& site) const override { return site.name == "left"; }
    void see(const Site&, MatView<const float> x) override { seen.push_back(x.row(0)[0]); }
    std::vector<float> seen;
  } last;
  Measurement measurement(
      sites(), {.also = &last},
      {.threads = 4,
       .progress = [&](int64_t done, int64_t) { EXPECT_EQ(std::ssize(last.seen), done); }},
      30);
  EXPECT_EQ(measurement.run(std::vector<Sample>(30), show_numbers), 30);
  for (size_t i = 0; i < 30; ++i) EXPECT_EQ(last.seen[i], static_cast<float>(i + 1));
}

TEST(FirstValues, AreOfEverySiteAndNoneAfterACancellation) {
  std::atomic<bool> stop{false};
  const auto show = [](scute::Run& run) {
    for (const float x : {1.0F, 2.0F, 3.0F}) show_value(run, 0, x);
  };
  const PassControl control{.cancelled = &stop};
  const auto values = first_values(sites(), 2, 64, control, show);
  ASSERT_EQ(values.size(), 4U);
  EXPECT_EQ(values[0].name, "left");
  EXPECT_THAT(values[0].tensor.values<float>(), ElementsAre(1, 2));
  EXPECT_EQ(values[3].tensor.size(), 0);
  stop = true;
  EXPECT_THAT(first_values(sites(), 2, 64, control, show), IsEmpty());
}

}  // namespace
}  // namespace scute::measure_test
