#include "scute/evaluate/picture_error.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "scute/base/error.h"
#include "scute/evaluate/divergence.h"

namespace scute::picture_error_test {
namespace {

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();
// A dozen double roundings of numbers near 1.
constexpr double kExact = 1e-14;

VectorError error_of(const std::vector<float>& values, const std::vector<float>& reference) {
  return vector_error({values.data(), 1, std::ssize(values)},
                      {reference.data(), 1, std::ssize(reference)});
}

TEST(VectorError, IsTheDistanceOverTheReferencesLength) {
  // b = (3, 4), a = (3, 5): |a − b| = 1, |b| = 5; a·b = 29, |a| = √34.
  const VectorError found = error_of({3, 5}, {3, 4});
  EXPECT_NEAR(found.relative, 0.2, kExact);
  EXPECT_NEAR(found.cosine, 29 / (5 * std::sqrt(34.0)), kExact);
  // Of the two the second is the reference.
  EXPECT_NEAR(error_of({3, 4}, {3, 5}).relative, 1 / std::sqrt(34.0), kExact);
}

TEST(VectorError, OfEqualVectorsIsNothing) {
  const VectorError found = error_of({0.1F, -7, 1e-20F}, {0.1F, -7, 1e-20F});
  EXPECT_EQ(found.relative, 0);
  EXPECT_LE(found.cosine, 1);
  EXPECT_NEAR(found.cosine, 1, kExact);
  EXPECT_NEAR(error_of({-1, -2}, {1, 2}).cosine, -1, kExact);
}

TEST(VectorError, NeedsDoubles) {
  // In f32 the squares of 1e25 overflow, and those of 1e-25 vanish.
  EXPECT_NEAR(error_of({1.5e25F, 0}, {1e25F, 0}).relative, 0.5, 1e-6);
  EXPECT_NEAR(error_of({1.5e-25F, 0}, {1e-25F, 0}).relative, 0.5, 1e-6);
}

TEST(VectorError, SkipsWhatLiesBetweenRows) {
  const std::vector<float> values{3, 100, 5, 100}, reference{3, 4};
  const VectorError found =
      vector_error(MatView<const float>(values.data(), 2, 1, 2), {reference.data(), 2, 1});
  EXPECT_NEAR(found.relative, 0.2, kExact);
}

TEST(VectorError, OfZerosIsDefined) {
  EXPECT_EQ(error_of({0, 0}, {0, 0}).relative, 0);
  EXPECT_EQ(error_of({0, 0}, {0, 0}).cosine, 1);
  EXPECT_TRUE(std::isinf(error_of({0, 1}, {0, 0}).relative));
  EXPECT_EQ(error_of({0, 1}, {0, 0}).cosine, 0);
  EXPECT_EQ(error_of({0, 0}, {0, 2}).relative, 1);
  EXPECT_EQ(error_of({0, 0}, {0, 2}).cosine, 0);
}

TEST(VectorError, DoesNotHideNaN) {
  for (const VectorError& found :
       {error_of({1, kNaN}, {1, 2}), error_of({1, 2}, {1, kNaN}), error_of({1, kNaN}, {0, 0})}) {
    EXPECT_TRUE(std::isnan(found.relative));
    EXPECT_TRUE(std::isnan(found.cosine));
  }
}

TEST(VectorError, OfOtherSizesIsRefused) {
  EXPECT_THROW(error_of({1, 2}, {1}), Error);
  EXPECT_THROW(error_of({}, {}), Error);
}

TEST(LogitError, ComparesTheTokensToo) {
  // p = (1/4, 3/4), q = (1/2, 1/2): ¼·log(½) + ¾·log(3/2).
  const std::vector<float> reference{0, std::log(3.0F)}, even{7, 7};
  const LogitError found = logit_error(even, reference);
  EXPECT_FALSE(found.same_argmax);
  // log 3 is rounded to f32, 2^-24 of it, once.
  EXPECT_NEAR(found.divergence, 0.25 * std::log(0.5) + 0.75 * std::log(1.5), 1e-7);
  EXPECT_TRUE(logit_error(reference, reference).same_argmax);
  EXPECT_EQ(logit_error(reference, reference).divergence, 0);
}

TEST(LogitError, OfShiftedLogitsHasNoDivergence) {
  const std::vector<float> reference{1, 2, 3}, shifted{2, 3, 4};
  const LogitError found = logit_error(shifted, reference);
  EXPECT_TRUE(found.same_argmax);
  EXPECT_NEAR(found.divergence, 0, kExact);
  EXPECT_GT(found.vector.relative, 0.4);
}

TEST(Divergence, OfLogitsThatAreNoNumbersIsNone) {
  EXPECT_TRUE(std::isnan(divergence(std::vector<float>{1, kNaN}, std::vector<float>{1, 2})));
  EXPECT_THROW(divergence(std::vector<float>{1}, std::vector<float>{1, 2}), Error);
}

TEST(ErrorSummary, HasMeanErrorAndTheWorst) {
  const std::vector<VectorError> items{{0.1, 0.9}, {0.4, 0.6}, {0.1, 0.9}};
  const ErrorSummary found = summarize_errors(items);
  // Deviations −0.1, 0.2, −0.1: variance 0.03, error √(0.03/3) = 0.1.
  EXPECT_NEAR(found.relative.mean, 0.2, kExact);
  EXPECT_NEAR(found.relative.standard_error, 0.1, kExact);
  EXPECT_NEAR(found.cosine.mean, 0.8, kExact);
  EXPECT_EQ(found.worst, 1U);
  EXPECT_TRUE(std::isnan(summarize_errors({items.data(), 1}).relative.standard_error));
  EXPECT_THROW(summarize_errors({}), Error);
}

TEST(ErrorSummary, CallsNaNTheWorst) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const std::vector<VectorError> items{{0.1, 0.9}, {nan, nan}, {5, 0.9}};
  EXPECT_EQ(summarize_errors(items).worst, 1U);
}

}  // namespace
}  // namespace scute::picture_error_test
