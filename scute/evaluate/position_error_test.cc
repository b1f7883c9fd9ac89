#include "scute/evaluate/position_error.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <utility>
#include <vector>

#include "scute/base/error.h"
#include "scute/base/random.h"

namespace scute::position_error_test {
namespace {

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

Tensor positions(const std::vector<float>& values) {
  return Tensor::of<float>({static_cast<int64_t>(values.size() / 2), 2}, values);
}
MatView<const float> view(const Tensor& tensor) { return tensor.matrix<float>(); }

/// Predictions whose errors from the origin are these.
Tensor with_errors(const std::vector<float>& errors) {
  std::vector<float> values;
  for (size_t i = 0; i < errors.size(); ++i) {
    values.push_back(i % 2 == 0 ? errors[i] : 0);
    values.push_back(i % 2 == 0 ? 0 : -errors[i]);
  }
  return positions(values);
}
Tensor origins(size_t n) { return positions(std::vector<float>(2 * n, 0)); }

TEST(PositionError, IsTheDistanceInBothCoordinates) {
  const Tensor predicted = positions({3, 4, 1, 1}), actual = positions({0, 0, 1, -1});
  EXPECT_THAT(position_errors(view(predicted), view(actual)), ::testing::ElementsAre(5.f, 2.f));
  const PositionErrors found = measure(view(predicted), view(actual));
  EXPECT_EQ(found.count, 2);
  EXPECT_EQ(found.mean, 3.5);
  EXPECT_EQ(found.largest, 5);
  EXPECT_EQ(found.mae_x, 1.5);
  EXPECT_EQ(found.mae_y, 3);
  // |Δ| of 3, 4, 0 and 2 metres: 2.5 + 3.5 + 0 + 1.5 over four coordinates.
  EXPECT_EQ(found.huber, 7.5 / 4);
  // Deviation of 5 and 2: 3/√2; over √2.
  EXPECT_NEAR(found.standard_error, 1.5, 1e-12);
}

TEST(PositionError, HuberIsQuadraticBelowOneMetre) {
  EXPECT_EQ(measure(view(positions({0.5f, 0.25f})), view(origins(1))).huber,
            (0.5 * 0.25 + 0.5 * 0.0625) / 2);
}

TEST(PositionError, HasTwoDefinitionsOfAPercentile) {
  // 1 … 10: NumPy's ranks are 4.5, 7.2 and 8.1 from 0; the training loop's 5th, 8th and 9th.
  const Tensor predicted = with_errors({10, 3, 1, 8, 5, 2, 9, 4, 7, 6});
  const PositionErrors found = measure(view(predicted), view(origins(10)));
  EXPECT_EQ(found.linear.median, 5.5);
  EXPECT_NEAR(found.linear.p80, 8.2, 1e-12);
  EXPECT_NEAR(found.linear.p90, 9.1, 1e-12);
  EXPECT_EQ(found.rank.median, 5);
  EXPECT_EQ(found.rank.p80, 8);
  EXPECT_EQ(found.rank.p90, 9);
}

TEST(PositionError, OfOneWindowHasPercentilesButNoStandardError) {
  const PositionErrors found = measure(view(with_errors({2})), view(origins(1)));
  for (const double value : {found.linear.median, found.linear.p80, found.linear.p90,
                             found.rank.median, found.rank.p80, found.rank.p90, found.mean}) {
    EXPECT_EQ(value, 2);
  }
  EXPECT_TRUE(std::isnan(found.standard_error));
}

TEST(PositionError, OneNaNSpoilsEveryFigureInsteadOfHiding) {
  const PositionErrors found = measure(view(with_errors({1, kNaN, 2})), view(origins(3)));
  for (const double value : {found.mean, found.largest, found.linear.median, found.linear.p90,
                             found.rank.median, found.rank.p80, found.mae_y, found.huber}) {
    EXPECT_TRUE(std::isnan(value));
  }
  const PositionComparison compared =
      compare(view(with_errors({1, kNaN, 2})), view(origins(3)), view(with_errors({1, 1, 1})));
  EXPECT_TRUE(std::isnan(compared.ratio));
  EXPECT_TRUE(std::isnan(compared.largest_deviation));
}

TEST(PositionError, RefusesOtherSizesAndNoWindows) {
  const Tensor two = origins(2), three = origins(3), none = origins(0);
  const Tensor wide(DType::f32, {2, 3});
  EXPECT_THROW(position_errors(view(two), view(three)), Error);
  EXPECT_THROW(measure(view(wide), view(wide)), Error);
  EXPECT_THROW(measure(view(none), view(none)), Error);
  EXPECT_THROW(compare(view(two), view(three), view(two)), Error);
  EXPECT_THROW(compare(view(none), view(none), view(none)), Error);
  EXPECT_THROW(find_grid(view(wide)), Error);
}

TEST(ComparePositions, PairsWindows) {
  // Errors 3 2 6 against 2 2 4: difference 1 0 2 with mean 1, deviation 1, error 1/√3. Ratio 11/8;
  // residuals e − 11/8 r: 1/4 −3/4 1/2; their deviation √(7/16), over √3 and the mean 8/3.
  const Tensor model = with_errors({3, 2, 6}), reference = with_errors({2, 2, 4});
  const PositionComparison found = compare(view(model), view(reference), view(origins(3)));
  EXPECT_NEAR(found.difference, 1, 1e-12);
  EXPECT_NEAR(found.standard_error, 1 / std::sqrt(3.0), 1e-12);
  EXPECT_NEAR(found.ratio, 11.0 / 8, 1e-12);
  EXPECT_NEAR(found.ratio_standard_error, std::sqrt(7.0 / 16 / 3) / (8.0 / 3), 1e-12);
  // The predictions are 1, 0 and 2 apart.
  EXPECT_NEAR(found.rms_deviation, std::sqrt(5.0 / 3), 1e-12);
  EXPECT_NEAR(found.mean_deviation, 1, 1e-12);
  EXPECT_EQ(found.largest_deviation, 2);
}

TEST(ComparePositions, SeesPredictionsThatMoveWithoutGettingWorse) {
  const PositionComparison found =
      compare(view(positions({1, 0, 0, 1})), view(positions({-1, 0, 0, -1})), view(origins(2)));
  EXPECT_EQ(found.ratio, 1);
  EXPECT_TRUE(std::isnan(found.ratio_standard_error));  // no spread is seen in two windows
  EXPECT_EQ(found.rms_deviation, 2);
}

TEST(ComparePositions, OfOneWindowKnowsNoStandardError) {
  const PositionComparison found =
      compare(view(with_errors({3})), view(with_errors({2})), view(origins(1)));
  EXPECT_EQ(found.ratio, 1.5);
  EXPECT_TRUE(std::isnan(found.standard_error));
  EXPECT_TRUE(std::isnan(found.ratio_standard_error));
}

/// n positions of a few metres, rounded to multiples of `step` plus an offset; 0: not rounded.
Tensor walk(int64_t n, double step, uint64_t seed = 1) {
  Random random(seed);
  std::vector<float> values;
  for (int64_t i = 0; i < 2 * n; ++i) {
    double value = 6 * random.uniform() - 3;
    if (step > 0) value = std::round(value / step) * step + 0.3141592;
    values.push_back(static_cast<float>(value));
  }
  return positions(values);
}

TEST(OutputGrid, FindsPredictionsRoundedToFewBits) {
  // So many values in 6 m that some are neighbours on the grid: n² · step / 6 pairs on average, at
  // least 3.
  const std::pair<int64_t, double> cases[] = {{16, 1.0 / 16},   {140, 1.0 / 16},   {2000, 1.0 / 16},
                                              {140, 1.0 / 256}, {2000, 1.0 / 256}, {140, 0.001}};
  for (const auto& [n, step] : cases) {
    const OutputGrid found = find_grid(view(walk(n, step)));
    EXPECT_TRUE(found.grid) << step << " " << n;
    EXPECT_NEAR(found.step_x, step, 1e-3 * step) << n;
    EXPECT_NEAR(found.step_y, step, 1e-3 * step) << n;
  }
}

TEST(OutputGrid, SeesThroughValuesThatAreNeverNeighbours) {
  // Multiples 0 2 4 7 9 11 … of 1/256: gaps of 2 and 3 steps.
  std::vector<float> values;
  for (int i = 0; i < 16; ++i) {
    const float value = static_cast<float>(i / 3 * 7 + i % 3 * 2) / 256;
    values.insert(values.end(), {value, -value});
  }
  const OutputGrid found = find_grid(view(positions(values)));
  EXPECT_TRUE(found.grid);
  EXPECT_NEAR(found.step_x, 1.0 / 256, 1e-8);
}

TEST(OutputGrid, FloatsAndFineStepsStandOnNone) {
  for (const int64_t n : {16, 140, 2000}) {
    for (uint64_t seed = 1; seed <= 20; ++seed) {
      EXPECT_FALSE(find_grid(view(walk(n, 0, seed))).grid) << n << " " << seed;
      EXPECT_FALSE(find_grid(view(walk(n, 0.00015, seed))).grid) << n << " " << seed;
      EXPECT_FALSE(find_grid(view(walk(n, 1.0 / 4096, seed))).grid) << n << " " << seed;
    }
  }
}

TEST(OutputGrid, CountsValuesAndMeasuresTheSmallestDistance) {
  const OutputGrid found = find_grid(view(positions({0, 5, 1, 5, 3.3f, 5, 1, 5})));
  EXPECT_EQ(found.distinct_x, 3);
  EXPECT_EQ(found.distinct_y, 1);
  EXPECT_EQ(found.step_x, 1);
  EXPECT_EQ(found.step_y, 0);
}

TEST(OutputGrid, NeedsBothCoordinatesAndEnoughWindows) {
  EXPECT_FALSE(find_grid(view(walk(15, 1.0 / 16))).grid);
  Tensor half = walk(200, 1.0 / 16);
  const Tensor free = walk(200, 0);
  for (int64_t r = 0; r < 200; ++r) half.mutable_matrix<float>().row(r)[1] = view(free).row(r)[1];
  EXPECT_FALSE(find_grid(view(half)).grid);
  Tensor lost = walk(16, 1.0 / 16);
  EXPECT_TRUE(find_grid(view(lost)).grid);
  lost.mutable_values<float>()[5] = kNaN;
  EXPECT_FALSE(find_grid(view(lost)).grid) << "15 windows with numbers are left";
}

TEST(OutputGrid, AnOutputThatNeverMovesIsTheCoarsestGrid) {
  EXPECT_TRUE(find_grid(view(origins(16))).grid);
  EXPECT_FALSE(find_grid(view(origins(0))).grid);
}

}  // namespace
}  // namespace scute::position_error_test
