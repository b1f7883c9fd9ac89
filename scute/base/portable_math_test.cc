#include "scute/base/portable_math.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>

#include "scute/base/random.h"

namespace scute::portable_math_test {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

/// The most that f is off from the 64-bit mantissas of `exact`, in units of the last place, at
/// 200,000 places of [low, high].
template <class F, class Exact>
double worst_ulps(double low, double high, const F& f, const Exact& exact) {
  Random random(1);
  double worst = 0;
  for (int i = 0; i < 200000; ++i) {
    const double x = low + random.uniform() * (high - low);
    const long double wanted = exact(static_cast<long double>(x));
    const double size = std::abs(static_cast<double>(wanted));
    if (!std::isnormal(size)) continue;
    const double ulp = std::nextafter(size, kInfinity) - size;
    const long double off = static_cast<long double>(f(x)) - wanted;
    worst = std::max(worst, std::abs(static_cast<double>(off)) / ulp);
  }
  return worst;
}

TEST(PortableMath, IsWithinAUnitOfTheLastPlace) {
  const auto exp = [](long double x) { return std::exp(x); };
  const auto log = [](long double x) { return std::log(x); };
  const auto sin = [](long double x) { return std::sin(x); };
  const auto cos = [](long double x) { return std::cos(x); };
  EXPECT_LE(worst_ulps(-708, 709.7, portable::exp, exp), 1);
  EXPECT_LE(worst_ulps(-1, 1, portable::exp, exp), 1);
  EXPECT_LE(worst_ulps(0.5, 2, portable::log, log), 1);
  EXPECT_LE(worst_ulps(0, 1e300, portable::log, log), 1);
  for (const double most : {4.0, 1.6e6}) {
    EXPECT_LE(worst_ulps(-most, most, portable::sin, sin), 1) << most;
    EXPECT_LE(worst_ulps(-most, most, portable::cos, cos), 1) << most;
  }
  EXPECT_LE(worst_ulps(1e-9, 1e9, portable::log10, [](long double x) { return std::log10(x); }), 3);
}

/// Multiples of π/2, as near as doubles come: what is left has few bits of the argument.
TEST(PortableMath, QuarterTurnsCancelExactly) {
  for (int n = 1; n < 100000; n += 7) {
    const double x = n * 1.5707963267948966;
    const long double wanted =
        n % 2 == 0 ? std::sin(static_cast<long double>(x)) : std::cos(static_cast<long double>(x));
    const double found = n % 2 == 0 ? portable::sin(x) : portable::cos(x);
    EXPECT_NEAR(found, static_cast<double>(wanted), 3e-16 * std::abs(static_cast<double>(wanted)))
        << n;
  }
}

TEST(PortableMath, EndsAreThoseOfTheCLibrary) {
  EXPECT_EQ(portable::exp(0), 1);
  EXPECT_EQ(portable::exp(-kInfinity), 0);
  EXPECT_EQ(portable::exp(kInfinity), kInfinity);
  EXPECT_EQ(portable::exp(710), kInfinity);
  EXPECT_EQ(portable::exp(-746), 0);
  EXPECT_EQ(portable::exp(-745.13), std::numeric_limits<double>::denorm_min());
  EXPECT_TRUE(std::isnan(portable::exp(kNaN)));
  EXPECT_EQ(portable::log(1), 0);
  EXPECT_EQ(portable::log(-0.0), -kInfinity);
  EXPECT_EQ(portable::log(kInfinity), kInfinity);
  EXPECT_TRUE(std::isnan(portable::log(-1)));
  EXPECT_NEAR(portable::log(std::numeric_limits<double>::denorm_min()), -744.4400719213812, 2e-13);
  EXPECT_EQ(portable::pow(2, 0), 1);
  EXPECT_NEAR(portable::pow(2, 10), 1024, 1e-11);
  EXPECT_EQ(portable::sin(-0.0), 0);
  EXPECT_EQ(portable::cos(0), 1);
  EXPECT_NEAR(portable::sin(1e7), std::sin(1e7), 1e-15);
}

/// Bits that no machine may change: a build with fused multiply-adds does.
TEST(PortableMath, BitsAreThese) {
  uint64_t all = 0;
  for (int i = 1; i < 1000; ++i) {
    const double x = i / 37.0;
    for (const double y :
         {portable::exp(-x), portable::log(x), portable::sin(x), portable::cos(3 * x)}) {
      all = all * 31 + std::bit_cast<uint64_t>(y);
    }
  }
  EXPECT_EQ(all, 0xa42a8cf5e63e88b7u);
}

}  // namespace
}  // namespace scute::portable_math_test
