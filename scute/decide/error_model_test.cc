#include "scute/decide/error_model.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "scute/decide/policy.h"
#include "scute/observe/test_data.h"

namespace scute::error_model_test {
namespace {

using testing_data::draw;
using testing_data::families;
using testing_data::Rounding;

double brute_error(const std::vector<float>& values, const Grid& grid) {
  double sum = 0;
  for (const float x : values) {
    sum += std::pow(static_cast<double>(x) - static_cast<double>(grid.round(x)), 2);
  }
  return sum / static_cast<double>(values.size());
}

TEST(ErrorModel, AgreesWithRoundingTheValues) {
  for (const auto& family : families()) {
    const int64_t n = 100000;
    const auto values = draw(family, n, 31);
    const Distribution d(statistic_of(values));
    for (const int bits : {4, 8}) {
      for (const bool symmetric : {true, false}) {
        for (const double share : {1.0, 0.999, 0.97}) {
          const GridSpec spec{.bits = bits, .symmetric = symmetric};
          const double clip = d.magnitude_quantile(share);
          const double lo = std::min(std::max(-clip, d.min()), 0.0), hi = std::min(clip, d.max());
          const double found = expected_error(d, lo, hi, spec);
          const Grid grid = make_grid(lo, hi, spec);
          const double actual = brute_error(values, grid);
          // Where grid steps are wider than buckets the model knows each error up to half a bucket;
          // with all k buckets that matter (≥ 1000 for these families) random, the sum is off by a
          // small part of itself. Where they are narrower, errors of single values are random in
          // [0, s²/4] with standard deviation 0.075·s², so the mean is off by 0.075·s²/√n·4 at most
          // (4 sigma). A lone value in a bucket at the clip may lie anywhere in it: (2^-8·clip)²/n.
          const double s = static_cast<double>(grid.scale);
          const double largest = std::max(std::abs(d.min()), d.max());
          const double bound = 0.02 * actual +
                               4 * 0.075 * s * s / std::sqrt(static_cast<double>(n)) +
                               0x1p-8 * largest * (largest - clip) * 2 / static_cast<double>(n);
          EXPECT_NEAR(found, actual, bound)
              << family.name << " " << bits << symmetric << " " << share;
        }
      }
    }
  }
}

TEST(ErrorModel, IsExactForValuesThatBucketsHoldExactly) {
  for (const auto& family : families()) {
    const auto values = draw(family, 20000, 32, Rounding::to_bf16);
    const Distribution d(statistic_of(values));
    for (const int bits : {2, 4, 8, 12}) {
      for (const bool symmetric : {true, false}) {
        const GridSpec spec{.bits = bits, .symmetric = symmetric};
        const double clip = d.magnitude_quantile(0.999);
        const double lo = std::min(std::max(-clip, d.min()), 0.0), hi = std::min(clip, d.max());
        const double actual = brute_error(values, make_grid(lo, hi, spec));
        // Grid::round computes code·scale and x/scale in float: each value's error is off by 2^-23
        // of the value; e² changes by 2·e·2^-23·x, and by Cauchy-Schwarz the mean by
        // 2^-22·rms·√error.
        const double bound =
            0x1p-22 * std::sqrt(d.mean_square() * actual) + 0x1p-44 * d.mean_square();
        EXPECT_NEAR(expected_error(d, lo, hi, spec), actual, bound + 1e-9 * actual)
            << family.name << " " << bits << symmetric;
      }
    }
  }
}

TEST(ErrorModel, IntegratesAUniformBucketExactly) {
  // One bucket [1, 1.5) at fine 1 with values everywhere: min and max pin its ends.
  std::vector<float> values;
  for (int i = 0; i <= 50000; ++i) values.push_back(1 + static_cast<float>(i) / 100001.0f);
  const Statistic s = statistic_of(values, 1);
  ASSERT_EQ(s.histogram.by_id().size(), 1u);
  const Distribution d(s);
  for (const double hi : {1.5, 1.37, 1.1, 0.7}) {
    for (const int bits : {2, 3, 4, 6, 8, 12}) {
      const GridSpec spec{.bits = bits, .symmetric = true};
      const Grid grid = make_grid(0, hi, spec);
      // The mean over 50001 evenly spaced points differs from the integral by the ends, 1/n each of
      // at most the largest squared error, and by float rounding as above.
      const double worst = std::pow(std::max(1.5 - hi, static_cast<double>(grid.scale)), 2);
      EXPECT_NEAR(expected_error(d, 0, hi, spec), brute_error(values, grid), worst * 4e-5 + 1e-10)
          << hi << " " << bits;
    }
  }
}

TEST(ErrorModel, ATwoSidedOutlierDoesNotDrownTheBody) {
  auto values = draw(families()[0], 10000, 1);
  values[0] = -3e38f;
  const Distribution d(statistic_of(values));
  const GridSpec spec{.bits = 8, .symmetric = false};
  // Everything but the outlier rounds to 0; the outlier is a code up to float rounding of scale.
  double body = 0;
  for (size_t i = 1; i < values.size(); ++i) body += std::pow(static_cast<double>(values[i]), 2);
  const double outlier = std::pow(3e38 * 0x1p-22, 2);
  EXPECT_LE(expected_error(d, d.min(), 4, spec), (body * 1.01 + outlier) / 10000);
}

TEST(ErrorModel, SqnrOfNothingLostIsInfiniteAndOfNoValuesHarmless) {
  const ErrorModel exact{Distribution(statistic_of(std::vector<float>{-127, 64, 127}))};
  EXPECT_EQ(exact.error(make_grid(-127, 127, {})), 0);
  EXPECT_EQ(exact.sqnr(make_grid(-127, 127, {})), std::numeric_limits<double>::infinity());
  const ErrorModel empty{Distribution(Statistic())};
  EXPECT_EQ(empty.error(make_grid(-1, 1, {})), 0);
}

TEST(ErrorModel, TheLowestSymmetricCodeLiesOneStepBeyondTheRange) {
  // Grid::round saturates at −128, so −128 itself is kept although hi = 127.
  const ErrorModel model{Distribution(statistic_of(std::vector<float>{-128, 127}))};
  EXPECT_EQ(model.error(make_grid(-127, 127, {})), 0);
}

}  // namespace
}  // namespace scute::error_model_test
