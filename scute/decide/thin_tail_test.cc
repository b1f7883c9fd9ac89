#include "scute/decide/thin_tail.h"

#include <gtest/gtest.h>

#include <map>
#include <string>
#include <vector>

#include "scute/decide/policy.h"

namespace scute::thin_tail_test {
namespace {

constexpr GridSpec kSigned8{.bits = 8, .symmetric = true};
constexpr GridSpec kAsymmetric8{.bits = 8, .symmetric = false};

Decision decide_as(const char* policy, const Statistic& s, GridSpec grid = kSigned8) {
  return decide(Policy::parse(policy), "site", s, grid);
}

/// 1 … n, or -n … n - 1.
Statistic count_up(int n, bool both_sides) {
  std::vector<float> values;
  for (int i = both_sides ? -n : 1; i < n + (both_sides ? 0 : 1); ++i) {
    values.push_back(static_cast<float>(i));
  }
  return statistic_of(values, 16);
}

TEST(ThinTail, APercentileIsOnlyAsFineAsThereAreValues) {
  EXPECT_FALSE(decide_as("percentile:0.999", count_up(1000, false)).thin);
  const auto thin = decide_as("percentile:0.999", count_up(999, false)).thin;
  ASSERT_TRUE(thin);
  EXPECT_EQ(thin->values, 999u);
  EXPECT_EQ(thin->needed, 1000u);
  EXPECT_NEAR(thin->percentile, 99.9, 1e-9);
  const auto tail = decide_as("tail", count_up(6144, false)).thin;
  ASSERT_TRUE(tail);
  EXPECT_NEAR(tail->percentile, 99.999, 1e-9);
  EXPECT_EQ(tail->needed, 100000u);
  // All of it is asked for, or nothing of a percentile.
  for (const char* policy : {"percentile:1", "minmax", "mse", "auto"}) {
    EXPECT_FALSE(decide_as(policy, count_up(10, false)).thin) << policy;
  }
}

/// Half the share is cut on each side, and below a value is kept with its rank.
TEST(ThinTail, BothSidesCountWhereBothHaveValues) {
  EXPECT_FALSE(decide_as("percentile:0.99", count_up(101, true), kAsymmetric8).thin);
  const auto both = decide_as("percentile:0.99", count_up(100, true), kAsymmetric8).thin;
  ASSERT_TRUE(both);
  EXPECT_EQ(both->values, 200u);
  EXPECT_EQ(both->needed, 201u);
  EXPECT_FALSE(decide_as("percentile:0.99", count_up(200, false), kAsymmetric8).thin);
  const auto above = decide_as("percentile:0.99", count_up(199, false), kAsymmetric8).thin;
  ASSERT_TRUE(above);
  EXPECT_EQ(above->needed, 200u);
}

TEST(ThinTail, ThePlansWorstSiteLacksTheLargestFactor) {
  std::map<std::string, Decision> sites;
  sites["a"] = decide_as("percentile:0.999", count_up(500, false));
  sites["b"] = decide_as("percentile:0.999", count_up(100, false));
  sites["c"] = decide_as("percentile:0.999", count_up(2000, false));
  const ThinTails found = thin_tails(sites);
  EXPECT_EQ(found.sites, 2);
  EXPECT_EQ(found.worst, "b");
  EXPECT_EQ(found.tail.values, 100u);
}

}  // namespace
}  // namespace scute::thin_tail_test
