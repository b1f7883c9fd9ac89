#include "scute/observe/statistic.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <vector>

#include "scute/base/error.h"
#include "scute/observe/distribution.h"
#include "scute/observe/test_data.h"

namespace scute::statistic_test {
namespace {

using testing_data::draw;
using testing_data::families;
using testing_data::Rounding;

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

uint32_t id_of(float x, int fine) { return std::bit_cast<uint32_t>(x) >> (23 - fine); }

/// Exact rank: the smallest k ≥ 1 with k/n ≥ numerator/denominator.
size_t exact_rank(uint64_t numerator, uint64_t denominator, uint64_t n) {
  const unsigned __int128 product = static_cast<unsigned __int128>(numerator) * n;
  return std::max<size_t>(static_cast<size_t>((product + denominator - 1) / denominator), 1);
}

TEST(Histogram, CountsByTheTopBitsAndAllocatesOnFirstTouch) {
  Histogram histogram(8);
  const int64_t empty = histogram.bytes();
  histogram.add(id_of(1.0f, 8), 2);
  histogram.add(id_of(1.5f, 8), 1);
  EXPECT_EQ(histogram.count(id_of(1.001f, 8)), 2u);  // 2^-8 = 0.0039 apart
  EXPECT_EQ(histogram.total(), 3u);
  EXPECT_EQ(histogram.bytes() - empty, 256 * 8);
  histogram.add(id_of(-1.0f, 8), 0);
  EXPECT_EQ(histogram.bytes() - empty, 256 * 8) << "a count of 0 touches nothing";
}

TEST(Histogram, RefusesFineOutOfRangeAndIdsBeyondTheTable) {
  EXPECT_THROW(Histogram(0), Error);
  EXPECT_THROW(Histogram(17), Error);
  Histogram histogram(8);
  EXPECT_THROW(histogram.add(1u << 17, 1), Error);
  EXPECT_NO_THROW(histogram.add((1u << 17) - 1, 1));
}

TEST(Histogram, AscendingIsByValueWithInfinitiesAndWithoutNan) {
  const std::vector<float> values{3, -2, kInf, -kInf, kNan, -kNan, 0.0f, -0.0f, 1e-40f, -1e-30f};
  const Statistic s = statistic_of(values);
  std::vector<float> edges;
  for (const auto& b : s.histogram.ascending()) edges.push_back(std::bit_cast<float>(b.id << 15));
  ASSERT_EQ(edges.size(), 8u);
  EXPECT_EQ(edges.front(), -kInf);
  EXPECT_EQ(edges.back(), kInf);
  EXPECT_TRUE(std::is_sorted(edges.begin(), edges.end()));
  EXPECT_EQ(s.histogram.by_id().size(), 10u);
  EXPECT_EQ(s.nans, 2u);
  EXPECT_EQ(s.infs, 2u);
  EXPECT_EQ(s.zeros, 2u);
}

TEST(Histogram, MergingAnyGroupingIsTheSameAndMassAdds) {  // user pain 20
  const auto all = draw(families()[2], 9000, 5);
  const std::span<const float> span(all);
  Statistic left = statistic_of(span.subspan(0, 1000)),
            right = statistic_of(span.subspan(1000, 4000));
  const Statistic last = statistic_of(span.subspan(5000));
  Statistic forward = left;
  forward.merge(right);
  forward.merge(last);
  Statistic backward = last;
  right.merge(left);
  backward.merge(right);
  EXPECT_EQ(forward, backward);
  Statistic whole = statistic_of(span);
  whole.samples = 3;
  EXPECT_EQ(forward, whole);
  EXPECT_EQ(forward.histogram.total(), 9000u);
}

TEST(Statistic, MergeRefusesAnotherFineAndKeepsWhatItHad) {
  Statistic a = statistic_of(std::vector<float>{1, 2}, 8);
  const Statistic before = a, b = statistic_of(std::vector<float>{1}, 7);
  EXPECT_THROW(a.merge(b), Error);
  EXPECT_EQ(a, before);
}

TEST(Statistic, MergingWithAnEmptyOneChangesNothing) {
  const Statistic some = statistic_of(std::vector<float>{-3, 5});
  Statistic a = some, b;
  a.merge(Statistic());
  b.merge(some);
  EXPECT_EQ(a, some);
  EXPECT_EQ(b, some);
}

TEST(UserPain04, CountsBeyondTwoToThe24StayExact) {
  Statistic s;
  const uint64_t many = (uint64_t{1} << 40) + 1;
  s.histogram.add(id_of(1, 8), many);
  s.histogram.add(id_of(2, 8), 1);
  s.count = many + 1;
  s.min = 1;
  s.max = 2;
  s.bits_or = std::bit_cast<uint32_t>(1.0f) | std::bit_cast<uint32_t>(2.0f);
  EXPECT_EQ(s.histogram.count(id_of(1, 8)), many);
  const Distribution d(s);
  EXPECT_EQ(d.quantile(0.9999), 1);
  EXPECT_EQ(d.quantile(1), 2);
}

TEST(UserPain04, PercentileOfAUniformStaysBelowOne) {
  Random random(4);
  std::vector<float> values;
  for (int i = 0; i < 200000; ++i) values.push_back(static_cast<float>(random.uniform()));
  // Half a bucket, 2^-9, and the sampling error of a p99.99, 1e-4.
  EXPECT_NEAR(Distribution(statistic_of(values)).quantile(0.9999), 0.9999, 0x1p-9 + 3e-4);
}

TEST(UserPain18, CountsNearTwoToThe63AreRefusedNotWrapped) {
  constexpr uint64_t kMost = std::numeric_limits<int64_t>::max();
  Histogram a, b;
  a.add(0, kMost - 5);
  EXPECT_THROW(a.add(1, 6), Error);
  EXPECT_THROW(a.add(1, std::numeric_limits<uint64_t>::max()), Error);
  EXPECT_EQ(a.total(), kMost - 5) << "nothing added";
  EXPECT_NO_THROW(a.add(1, 5));
  b.add(7, 1);
  EXPECT_THROW(a.merge(b), Error);
  EXPECT_EQ(a.count(7), 0u);
}

TEST(UserPain19, ExtremesAreFloatsNotIntegers) {
  const Distribution d(statistic_of(std::vector<float>{-0.3f, 0.2f, 0.7f}));
  EXPECT_EQ(d.min(), static_cast<double>(-0.3f));
  EXPECT_EQ(d.max(), static_cast<double>(0.7f));
}

TEST(UserPain21, AllZerosAndOneValueHaveQuantiles) {
  const Distribution zeros(statistic_of(std::vector<float>(100, -0.0f)));
  EXPECT_EQ(zeros.quantile(0.5), 0);
  EXPECT_FALSE(std::signbit(zeros.quantile(0.5)));
  EXPECT_EQ(zeros.magnitude_quantile(0.9995), 0);
  EXPECT_EQ(zeros.standard_deviation(), 0);
  const Distribution constant(statistic_of(std::vector<float>(7, 1.2345f)));
  for (const double share : {0.0, 0.3, 1.0}) {
    EXPECT_EQ(constant.quantile(share), static_cast<double>(1.2345f));
  }
  EXPECT_NEAR(constant.standard_deviation(), 0, 1e-15);
}

TEST(UserPain17And22, ATinyFirstRangeThenABigOneLosesNothing) {
  Statistic s = statistic_of(std::vector<float>(1000, 1e-6f));
  const int64_t small = s.histogram.bytes();
  s.merge(statistic_of(std::vector<float>(1000, 1e6f)));
  s.merge(statistic_of(std::vector<float>(10, 2e-6f)));
  EXPECT_EQ(s.histogram.total(), 2010u);
  EXPECT_LE(s.histogram.bytes(), small + 2 * 256 * 8) << "no growth with the range";
  EXPECT_EQ(s.histogram.count(id_of(1e-6f, 8)), 1000u);
  EXPECT_EQ(s.histogram.count(id_of(2e-6f, 8)), 10u);
}

TEST(UserPain09And12, MemoryDoesNotGrowWithTheNumberOfValues) {
  const auto values = draw(families()[0], 50000, 3);
  const Statistic some = statistic_of(values);
  Statistic much = some;
  for (int i = 0; i < 200; ++i) much.merge(some);
  EXPECT_EQ(much.histogram.bytes(), some.histogram.bytes());
  EXPECT_LT(some.histogram.bytes(), 200000);
}

TEST(UserPain26, AQuantileIsTheSmallestValueWithThatShareAtOrBelow) {
  std::vector<float> values;
  for (int i = 1; i <= 10; ++i) values.push_back(static_cast<float>(i));
  const Distribution d(statistic_of(values));
  for (int i = 1; i <= 10; ++i) EXPECT_EQ(d.quantile(i / 10.0), i);
  EXPECT_EQ(d.quantile(0.11), 2);
  EXPECT_EQ(d.quantile(0), 1);
  EXPECT_EQ(d.magnitude_quantile(0.999), 10);
}

TEST(Rank, IsTheExactCeilingForDecimalSharesAndRatios) {
  EXPECT_EQ(rank_of_share(0.9995, 2000), 1999u);
  EXPECT_EQ(rank_of_share(0.99951, 2000), 2000u);
  EXPECT_EQ(rank_of_share(1 - 0.9995, 2000), 1u);
  EXPECT_EQ(rank_of_share(99.95 / 100, 2000), 1999u);
  EXPECT_EQ(rank_of_share(0, 5), 1u);
  EXPECT_EQ(rank_of_share(1, 5), 5u);
  Random random(8);
  for (int i = 0; i < 200000; ++i) {
    // Shares of up to 7 digits; ranks are told apart while 2^-50·n is below 1e-7, so n < 2^26.
    const uint64_t n = 1 + random.below(uint64_t{1} << 26), millionths = random.below(10000001);
    const double share = static_cast<double>(millionths) / 1e7;
    ASSERT_EQ(rank_of_share(share, n), exact_rank(millionths, 10000000, n)) << share << " " << n;
  }
  for (uint64_t n = 1; n < 600; ++n) {
    for (uint64_t k = 1; k <= n; ++k) {
      ASSERT_EQ(rank_of_share(static_cast<double>(k) / static_cast<double>(n), n), k);
    }
  }
  const uint64_t most = std::numeric_limits<int64_t>::max();
  EXPECT_EQ(rank_of_share(1, most), most);
  EXPECT_LE(rank_of_share(0.5, most), most / 2 + 1);
  EXPECT_GE(rank_of_share(0.5, most), most / 2 - (most >> 49));
}

/// The k-th smallest, k from 1.
float sorted_at(std::vector<float> values, uint64_t rank) {
  const auto at = values.begin() + static_cast<std::ptrdiff_t>(rank - 1);
  std::nth_element(values.begin(), at, values.end());
  return *at;
}

TEST(UserPain01And03, QuantilesAgreeWithSortingWithinHalfABucket) {
  const std::vector<double> shares{0,    1e-5, 0.001, 0.01,  0.1,    0.25,   0.5,
                                   0.75, 0.9,  0.99,  0.999, 0.9995, 0.9999, 1};
  for (const auto& family : families()) {
    for (const int64_t n : {1, 2, 17, 1000, 20000}) {
      const auto values = draw(family, n, static_cast<uint64_t>(n));
      std::vector<float> magnitudes = values;
      for (float& x : magnitudes) x = std::abs(x);
      for (const int fine : {1, 7, 8, 12, 16}) {
        const Distribution d(statistic_of(values, fine));
        const double bound = std::ldexp(1.0, -(fine + 1)) * (1 + 1e-12);
        for (const double share : shares) {
          const uint64_t rank = rank_of_share(share, static_cast<uint64_t>(n));
          const double wanted = sorted_at(values, rank), found = d.quantile(share);
          ASSERT_LE(std::abs(found - wanted), bound * std::abs(wanted))
              << family.name << " n " << n << " fine " << fine << " share " << share;
          const double above = sorted_at(magnitudes, rank);
          ASSERT_LE(std::abs(d.magnitude_quantile(share) - above), bound * above)
              << family.name << " n " << n << " fine " << fine << " share " << share;
        }
      }
    }
  }
}

TEST(Distribution, ExtremesAreExactWhateverTheBuckets) {
  for (const auto& family : families()) {
    const auto values = draw(family, 5000, 77);
    const Distribution d(statistic_of(values, 2));
    const auto [min, max] = std::ranges::minmax(values);
    EXPECT_EQ(d.quantile(0), static_cast<double>(min)) << family.name;
    EXPECT_EQ(d.quantile(1), static_cast<double>(max)) << family.name;
    EXPECT_EQ(d.magnitude_quantile(1), static_cast<double>(std::max(std::abs(min), std::abs(max))))
        << family.name;
  }
}

TEST(Distribution, HalfPrecisionDataIsReadBackExactly) {
  for (const auto& family : families()) {
    for (const auto& [rounding, fine] :
         {std::pair{Rounding::to_bf16, 7}, {Rounding::to_bf16, 8}, {Rounding::to_fp16, 10}}) {
      auto values = draw(family, 3000, 9, rounding);
      // fp16 has an infinity where exp(3·normal) exceeds 65504.
      std::erase_if(values, [](float x) { return std::isinf(x); });
      const Distribution d(statistic_of(values, fine));
      std::ranges::sort(values);
      for (size_t rank = 1; rank <= values.size(); ++rank) {
        const double share = static_cast<double>(rank) / static_cast<double>(values.size());
        ASSERT_EQ(d.quantile(share), static_cast<double>(values[rank - 1])) << family.name;
      }
    }
  }
}

TEST(Distribution, MomentsAndSharesAgreeWithTheValues) {
  for (const auto& family : families()) {
    const auto values = draw(family, 20000, 12);
    double sum = 0, square = 0;
    for (const double x : values) {
      sum += x;
      square += x * x;
    }
    const auto n = static_cast<double>(values.size());
    const double mean = sum / n, deviation = std::sqrt(square / n - mean * mean);
    const Distribution d(statistic_of(values, 10));
    // Every value is off by at most 2^-11 of itself, so the mean by that of the mean |x| ≤ rms.
    const double rms = std::sqrt(square / n);
    EXPECT_NEAR(d.mean(), mean, 0x1p-11 * rms) << family.name;
    EXPECT_NEAR(d.mean_square(), square / n, 0x1p-9 * square / n) << family.name;
    EXPECT_NEAR(d.standard_deviation(), deviation, 0x1p-9 * rms) << family.name;
    const double lo = d.quantile(0.1), hi = d.quantile(0.97);
    // Values equal to the quantile are inside; continuous families have 0.1 − 1/n and 0.03 outside.
    if (family.name != "relu") {
      EXPECT_NEAR(d.outside(lo, hi), 0.13, 0.004) << family.name;
    }
    EXPECT_EQ(d.outside(d.min(), d.max()), 0);
  }
}

TEST(Distribution, TheShareAtOrBelowAValue) {
  const std::vector<float> values{-2, -1, 0, 0, 1, 4};
  const Distribution distribution(statistic_of(values));
  EXPECT_EQ(distribution.cdf(-2.5), 0);
  EXPECT_EQ(distribution.cdf(-1), 2.0 / 6);
  EXPECT_EQ(distribution.cdf(0), 4.0 / 6);
  EXPECT_EQ(distribution.cdf(4), 1);
  EXPECT_EQ(Distribution(Statistic()).cdf(0), 0);
}

TEST(Distribution, NothingFiniteIsAnErrorOnlyWhenAsked) {
  const Distribution d(statistic_of(std::vector<float>{kNan, kInf}));
  EXPECT_EQ(d.count(), 0u);
  EXPECT_EQ(d.mean_square(), 0);
  EXPECT_EQ(d.outside(-1, 1), 0);
  EXPECT_THROW(d.quantile(0.5), Error);
  EXPECT_THROW(Distribution(statistic_of(std::vector<float>{1})).quantile(1.5), Error);
  EXPECT_THROW(Distribution(statistic_of(std::vector<float>{1})).quantile(std::nan("")), Error);
}

TEST(Distribution, MagnitudesUniteBothSigns) {
  const Distribution d(statistic_of(std::vector<float>{-3, -1, 1, 2, -0.0f, 0.0f}));
  std::vector<std::pair<double, uint64_t>> found;
  for (const auto& point : d.magnitudes()) found.emplace_back(point.value, point.count);
  EXPECT_THAT(found, testing::ElementsAre(testing::Pair(0, 2u), testing::Pair(1, 2u),
                                          testing::Pair(2, 1u), testing::Pair(3, 1u)));
}

TEST(Distribution, ZerosAmongTinyValuesStaySmall) {
  std::vector<float> values(1000, 0.0f);
  values.push_back(1e-44f);
  values.push_back(-1e-44f);
  values.push_back(1);
  const Distribution d(statistic_of(values));
  EXPECT_LT(std::abs(d.quantile(0.5)), 0x1p-126);
  EXPECT_EQ(d.quantile(1), 1);
  EXPECT_LT(d.magnitude_quantile(0.5), 0x1p-126);
}

}  // namespace
}  // namespace scute::statistic_test
