#include "scute/observe/subsample_tap.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <set>

#include "scute/observe/recorder.h"

namespace scute::subsample_tap_test {
namespace {

/// Keeps what it is shown.
class Keeper : public Tap {
 public:
  bool wants(const Site&) const override { return true; }
  void see(const Site&, MatView<const float> values) override {
    seen.clear();
    for (int64_t r = 0; r < values.rows; ++r) {
      seen.insert(seen.end(), values.row(r), values.row(r) + values.cols);
    }
  }
  std::vector<float> seen;
};

std::vector<float> counting(int64_t n) {
  std::vector<float> out(static_cast<size_t>(n));
  std::iota(out.begin(), out.end(), 0.0F);
  return out;
}

std::vector<float> sample(const std::vector<float>& values, int64_t most, uint64_t seed,
                          int64_t number, const char* site = "s") {
  Keeper keeper;
  SubsampleTap tap(keeper, most, seed);
  tap.begin(number);
  tap.see({site, {100}}, {values.data(), static_cast<int64_t>(values.size()) / 100, 100});
  return keeper.seen;
}

TEST(SubsampleTap, TakesOneOfEachPieceAndBothExtremes) {
  std::vector<float> values = counting(10000);
  std::swap(values[4321], values.front());  // the smallest in the middle
  const auto chosen = sample(values, 100, 7, 0);
  ASSERT_GE(chosen.size(), 100U);
  ASSERT_LE(chosen.size(), 101U);
  EXPECT_EQ(std::set<float>(chosen.begin(), chosen.end()).size(), chosen.size()) << "none twice";
  EXPECT_EQ(*std::ranges::min_element(chosen), 0.0F);
  EXPECT_EQ(*std::ranges::max_element(chosen), 9999.0F);
  for (size_t piece = 50; piece < 99; ++piece) {
    EXPECT_GE(chosen[piece], 100.0F * static_cast<float>(piece));
    EXPECT_LT(chosen[piece], 100.0F * static_cast<float>(piece + 1));
  }
}

TEST(SubsampleTap, IsAFunctionOfSeedSiteAndSample) {
  const auto values = counting(10000);
  EXPECT_EQ(sample(values, 64, 1, 3), sample(values, 64, 1, 3));
  EXPECT_NE(sample(values, 64, 1, 3), sample(values, 64, 2, 3));
  EXPECT_NE(sample(values, 64, 1, 3), sample(values, 64, 1, 4));
  EXPECT_NE(sample(values, 64, 1, 3), sample(values, 64, 1, 3, "t"));
}

TEST(SubsampleTap, SmallTensorsPassWhole) {
  const auto values = counting(300);
  EXPECT_EQ(sample(values, 300, 1, 0), values);
}

TEST(SubsampleTap, KeepsBothExtremesOfOnePiece) {
  std::vector<float> values(1000, 5.0F);
  values[10] = -1;
  values[11] = 9;
  const auto chosen = sample(values, 4, 1, 0);
  EXPECT_EQ(chosen.size(), 5U);
  EXPECT_EQ(std::ranges::count(chosen, -1.0F), 1);
  EXPECT_EQ(std::ranges::count(chosen, 9.0F), 1);
}

// One of n equal pieces each: the share below the median is within the standard error of stratified
// sampling, at most 0.5/√n = 0.016 for n = 1000, of one half; 5 of those are allowed.
TEST(SubsampleTap, QuantilesOfTheSampleAreThoseOfTheWhole) {
  std::vector<float> values(100000);
  for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i * 7919 % 100000);
  const auto chosen = sample(values, 1000, 42, 0);
  const auto below = std::ranges::count_if(chosen, [](float x) { return x < 50000.0F; });
  EXPECT_NEAR(static_cast<double>(below) / 1000, 0.5, 5 * 0.016);
}

TEST(SubsampleTap, ARecorderTakesWhatGoesOn) {
  Recorder recorder({{"s", {100}}});
  SubsampleTap tap(recorder, 50, 1);
  const auto values = counting(1000);
  tap.see({"s", {100}}, {values.data(), 10, 100});
  EXPECT_LE(recorder.statistics().at("s").count, 51U);
  EXPECT_EQ(recorder.statistics().at("s").max, 999.0F);
}

}  // namespace
}  // namespace scute::subsample_tap_test
