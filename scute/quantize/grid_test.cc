#include "scute/quantize/grid.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "scute/base/error.h"
#include "scute/base/random.h"

namespace scute::grid_test {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

TEST(Grid, SymmetricScaleIsTheLargerBoundOverTheHighestCode) {
  const Grid grid = make_grid(-2, 12.7, {.bits = 8, .symmetric = true});
  EXPECT_EQ(grid.scale, 0.1f);
  EXPECT_EQ(grid.zero, 0);
  EXPECT_EQ(make_grid(-7, 1, {.bits = 4}).scale, 1.0f);
}

TEST(Grid, RoundsHalvesToEvenAndSaturates) {
  const Grid grid = make_grid(-127, 127, {});
  EXPECT_EQ(grid.scale, 1.0f);
  const std::pair<float, int> cases[] = {
      {0.5f, 0},     {1.5f, 2},    {2.5f, 2},       {-0.5f, 0},     {-1.5f, -2}, {126.5f, 126},
      {127.9f, 127}, {1e30f, 127}, {-127.6f, -128}, {-1e30f, -128}, {kInf, 127}, {-kInf, -128}};
  for (const auto& [x, code] : cases) EXPECT_EQ(grid.code(x), code) << x;
}

TEST(Grid, NanTakesTheZeroCode) {
  EXPECT_EQ(make_grid(-1, 1, {}).code(kNan), 0);
  const Grid grid = make_grid(-1, 3, {.bits = 8, .symmetric = false});
  EXPECT_EQ(grid.code(kNan), grid.zero);
  EXPECT_EQ(grid.round(kNan), 0.0f);
}

TEST(Grid, AsymmetricGridHoldsZeroExactlyAndSpansTheRange) {
  for (int bits : {2, 4, 8, 16}) {
    const GridSpec spec{.bits = bits, .symmetric = false};
    const Grid grid = make_grid(-1, 3, spec);
    EXPECT_EQ(grid.round(0), 0.0f);
    // The zero point is rounded to a code, so an end of the range may be off by half a step.
    EXPECT_NEAR(grid.value(spec.lowest()), -1, grid.scale * 0.5001) << bits;
    EXPECT_NEAR(grid.value(spec.highest()), 3, grid.scale * 0.5001) << bits;
  }
}

TEST(Grid, OneSidedRangesReachDownOrUpToZero) {
  const GridSpec spec{.bits = 8, .symmetric = false};
  const Grid positive = make_grid(5, 51, spec);
  EXPECT_EQ(positive.zero, -128);
  EXPECT_EQ(positive.scale, 0.2f);
  const Grid negative = make_grid(-51, -5, spec);
  EXPECT_EQ(negative.zero, 127);
  EXPECT_EQ(negative.value(-128), -51.0f);
}

TEST(Grid, EveryCodeSurvivesARoundTrip) {
  for (const bool symmetric : {true, false}) {
    for (int bits : {2, 3, 8, 12, 16}) {
      const GridSpec spec{.bits = bits, .symmetric = symmetric};
      const Grid grid = make_grid(-0.37, 1.23, spec);
      for (int32_t code = spec.lowest(); code <= spec.highest(); ++code) {
        ASSERT_EQ(grid.code(grid.value(code)), code) << bits << symmetric;
      }
    }
  }
}

TEST(Grid, ErrorInsideTheRangeIsAtMostHalfAStep) {
  Random random(1);
  const Grid grid = make_grid(-3, 5, {.bits = 6, .symmetric = false});
  const float end = grid.value(grid.spec.highest());
  for (int i = 0; i < 10000; ++i) {
    const auto x = static_cast<float>(random.uniform() * static_cast<double>(end));
    // The quotient of about 40 is off by at most 2^-24 of itself, far below 1e-5 of a step.
    ASSERT_LE(std::abs(grid.round(x) - x), grid.scale * 0.50001f) << x;
  }
}

TEST(Grid, WidthZeroAndTinyWidthsStayUsable) {
  EXPECT_EQ(make_grid(0, 0, {}).scale, static_cast<float>(1e-6 / 127));
  EXPECT_EQ(make_grid(0, 0, {.bits = 8, .symmetric = false}).code(1), 127);
  const Grid tiny = make_grid(-1e-45, 1e-45, {});
  EXPECT_GE(tiny.scale, std::numeric_limits<float>::min());
  EXPECT_TRUE(std::isfinite(1 / tiny.scale));
  const Grid huge = make_grid(-3.4e38, 3.4e38, {.bits = 16, .symmetric = false});
  EXPECT_TRUE(std::isfinite(huge.scale));
  EXPECT_EQ(huge.code(3.4e38f), 32767);
}

TEST(Grid, RefusesRangesThatMakeNoSense) {
  EXPECT_THROW(make_grid(2, 1, {}), Error);
  EXPECT_THROW(make_grid(0, std::numeric_limits<double>::quiet_NaN(), {}), Error);
  EXPECT_THROW(make_grid(-std::numeric_limits<double>::infinity(), 1, {}), Error);
  EXPECT_THROW(make_grid(0, 1e39, {}), Error);
  EXPECT_THROW(make_grid(0, 1, {.bits = 1}), Error);
  EXPECT_THROW(make_grid(0, 1, {.bits = 17}), Error);
}

}  // namespace
}  // namespace scute::grid_test
