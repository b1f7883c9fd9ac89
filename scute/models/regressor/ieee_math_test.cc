#include "scute/models/regressor/ieee_math.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "scute/base/random.h"

namespace scute::ieee_math_test {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

/// |got − expected| / expected; long double has 11 bits more than what is tested.
double relative(double got, long double expected) {
  return static_cast<double>(std::abs((static_cast<long double>(got) - expected) / expected));
}

TEST(IeeeMath, ExponentialsAreWithinTheirBound) {
  Random random(1);
  double worst = 0;
  const auto check = [&](double x) {
    const double off = relative(ieee_exp(x), std::exp(static_cast<long double>(x)));
    worst = std::max(worst, off);
    EXPECT_LE(off, 0x1p-50) << x;
  };
  for (int i = 0; i < 200000; ++i) check(1400 * random.uniform() - 700);
  for (int i = 0; i < 200000; ++i) check(4 * random.uniform() - 2);
  // Where the reduced argument is largest: odd halves of ln 2.
  for (int k = -1008; k <= 1008; ++k) check((k + 0.5) * 0.6931471805599453);
  for (const double x : {-700.0, 700.0, 1e-300, -1e-300, 1e-17, -5e-324}) check(x);
  std::printf("exp: 2^%.1f\n", std::log2(worst));
  EXPECT_EQ(ieee_exp(0), 1);
  EXPECT_EQ(ieee_exp(-0.0), 1);
}

TEST(IeeeMath, ExponentialsEndWhereTheyAreDocumentedTo) {
  EXPECT_EQ(ieee_exp(std::nextafter(-700.0, -kInfinity)), 0);
  EXPECT_GT(ieee_exp(-700), 0);
  EXPECT_EQ(ieee_exp(-kInfinity), 0);
  EXPECT_EQ(ieee_exp(701), ieee_exp(700));
  EXPECT_EQ(ieee_exp(kInfinity), ieee_exp(700));
  EXPECT_TRUE(std::isfinite(ieee_exp(kInfinity)));
  EXPECT_TRUE(std::isnan(ieee_exp(NAN)));
}

TEST(IeeeMath, SoftplusIsWithinItsBound) {
  Random random(2);
  double worst = 0;
  const auto check = [&](double x) {
    const auto exact = static_cast<long double>(x);
    const long double expected = std::max(exact, 0.0L) + std::log1p(std::exp(-std::abs(exact)));
    const double off = relative(ieee_softplus(x), expected);
    worst = std::max(worst, off);
    EXPECT_LE(off, 0x1p-48) << x;
  };
  for (int i = 0; i < 200000; ++i) check(80 * random.uniform() - 40);
  for (int i = 0; i < 200000; ++i) check(2 * random.uniform() - 1);
  for (const double x : {0.0, -0.0, 1e-300, -1e-9, -700.0, 700.0, 1e300}) check(x);
  std::printf("softplus: 2^%.1f\n", std::log2(worst));
  EXPECT_EQ(ieee_softplus(-701), 0);
  EXPECT_EQ(ieee_softplus(-kInfinity), 0);
  EXPECT_EQ(ieee_softplus(kInfinity), kInfinity);
  EXPECT_TRUE(std::isnan(ieee_softplus(NAN)));
}

TEST(IeeeMath, TheirBitsAreKnown) {
  // Of this order of operations, on every machine; the nearest doubles but for the last bit.
  EXPECT_EQ(ieee_exp(1.0), 0x1.5bf0a8b14576ap+1);
  EXPECT_EQ(ieee_softplus(0.0), 0x1.62e42fefa39eep-1);
}

}  // namespace
}  // namespace scute::ieee_math_test
