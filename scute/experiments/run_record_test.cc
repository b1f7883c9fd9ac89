#include "scute/experiments/run_record.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "scute/base/error.h"
#include "scute/base/random.h"

namespace scute::run_record_test {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::ThrowsMessage;

/// Ten thousand normal values of one site, one of them an outlier to the left.
std::vector<float> values_with_outlier(uint64_t seed) {
  std::vector<float> out(10000);
  Random random(seed);
  for (float& x : out) x = static_cast<float>(random.normal());
  out[77] = -40;
  return out;
}

struct Recorded {
  StatisticsSet statistics;
  Plan plan;
};

Recorded record_of(const std::vector<std::string>& sites, const char* policy) {
  Recorded out;
  uint64_t seed = 1;
  for (const std::string& site : sites) {
    out.statistics.sites.emplace(site, statistic_of(values_with_outlier(seed++)));
  }
  PlanOptions options;
  options.policy = Policy::parse(policy);
  out.plan = make_plan(out.statistics.sites, options);
  return out;
}

double number(const Json& site, const char* key) { return site.at(key, "").as_double(key); }

std::vector<std::string> names(const Json& stats) {
  std::vector<std::string> out;
  for (const auto& [name, value] : stats.as_object("")) out.push_back(name);
  return out;
}

TEST(ActivationStats, ExtremesAreTrueAndSignedAndTheClippedShareIsCounted) {
  const auto [statistics, plan] = record_of({"layer_0.x_proj:input"}, "quamba:0.999");
  const Json all = activation_stats(statistics, plan, {}, {});
  const Json& site = all.at("layer_0.x_proj:input", "");
  const std::vector<float> values = values_with_outlier(1);
  const Json &before = site.at("before_percentile", ""), &after = site.at("after_percentile", "");
  EXPECT_EQ(number(before, "min"), -40);
  EXPECT_EQ(number(before, "max"), static_cast<double>(*std::ranges::max_element(values)));
  EXPECT_EQ(number(before, "range"), number(before, "max") + 40);
  const double lo = number(after, "min"), hi = number(after, "max");
  const auto outside = std::ranges::count_if(values, [&](float x) { return x < lo || x > hi; });
  // Buckets are counted by their representative: those at the border, of relative width 2^-8, may
  // fall on either side. At |x| = 3.3 the density of 10,000 normal values is 35 a unit and side, so
  // a bucket of 0.013 holds less than one value: two for both sides.
  EXPECT_NEAR(number(site, "clipped_ratio"), static_cast<double>(outside) / 10000, 2.0 / 10000);
  EXPECT_GT(outside, 5);
  EXPECT_EQ(number(site, "clipped_ratio_nominal"), 0.001);
  EXPECT_EQ(number(site, "percentile_alpha"), 0.999);
  EXPECT_EQ(number(site, "range_reduction"), 1 - (hi - lo) / number(before, "range"));
  EXPECT_EQ(number(site, "count"), 10000);
  // Standard error of the median of 10,000 normal values: 1.25/100; the outlier adds 40²/10000 to
  // the variance.
  EXPECT_NEAR(number(site, "median"), 0, 0.05);
  EXPECT_NEAR(number(site, "std"), std::sqrt(1 + 0.16), 0.03);
  EXPECT_EQ(site.find("before_reorder"), nullptr);
}

TEST(ActivationStats, TheMeasuredShareIsNotTheNominalOne) {
  // A tenth of the values is the largest one: 0.95 keeps it, and with it everything.
  std::vector<float> values(1000, 1.0f);
  std::fill_n(values.begin(), 100, 5.0f);
  const std::string name = "layer_0.x_proj:input";
  StatisticsSet statistics;
  statistics.sites.emplace(name, statistic_of(values));
  PlanOptions options;
  options.policy = Policy::parse("quamba:0.95");
  const Plan plan = make_plan(statistics.sites, options);
  const Json all = activation_stats(statistics, plan, {}, {});
  EXPECT_EQ(number(all.at(name, ""), "clipped_ratio"), 0);
  EXPECT_EQ(number(all.at(name, ""), "clipped_ratio_nominal"), 0.05);
}

TEST(ActivationStats, PoliciesWithoutAShareHaveNoNominalOne) {
  const auto [statistics, plan] = record_of({"layer_0.x_proj:input"}, "mse");
  const Json all = activation_stats(statistics, plan, {}, {});
  const Json& site = all.at("layer_0.x_proj:input", "");
  EXPECT_TRUE(site.at("percentile_alpha", "").is_null());
  EXPECT_TRUE(site.at("clipped_ratio_nominal", "").is_null());
  EXPECT_EQ(site.at("policy", "").as_string(""), "mse");
}

TEST(ActivationStats, SitesAreThoseOfTheGlobAndOfTheFirstLayersInNaturalOrder) {
  const Recorded recorded =
      record_of({"embedding:output", "layer_0.x_proj:input", "layer_10.x_proj:input",
                 "layer_2.x_proj:input", "layer_2.in_proj:input"},
                "minmax");
  const StatisticsSet& statistics = recorded.statistics;
  const Plan& plan = recorded.plan;
  EXPECT_THAT(names(activation_stats(statistics, plan, {}, {})),
              ElementsAre("layer_0.x_proj:input", "layer_2.x_proj:input", "layer_10.x_proj:input"));
  EXPECT_THAT(names(activation_stats(statistics, plan, {.layers = 3}, {})),
              ElementsAre("layer_0.x_proj:input", "layer_2.x_proj:input"));
  EXPECT_THAT(names(activation_stats(statistics, plan, {.sites = "*", .layers = 1}, {})),
              ElementsAre("embedding:output", "layer_0.x_proj:input"));
  EXPECT_THAT(names(activation_stats(statistics, plan, {.layers = 0}, {})), testing::IsEmpty());
  EXPECT_THAT(
      [&] {
        activation_stats(statistics, plan, {.sites = "layer_0.x_prox:input", .layers = {}}, {});
      },
      ThrowsMessage<Error>(HasSubstr("layer_0.x_proj:input")));
}

TEST(ActivationStats, StatesAlongTheWayAreTheOnesRecordedWhenDecidedFrom) {
  const auto [statistics, plan] =
      record_of({"layer_0.ssm_state_act:input", "layer_0.ssm_state_act:steps"}, "minmax");
  const Json all = activation_stats(statistics, plan, {}, {});
  const Json& site = all.at("layer_0.ssm_state_act:input", "");
  EXPECT_EQ(site.at("statistic", "").as_string(""), "layer_0.ssm_state_act:steps");
  const std::vector<float> steps = values_with_outlier(2);
  EXPECT_EQ(number(site.at("before_percentile", ""), "max"),
            static_cast<double>(*std::ranges::max_element(steps)));
}

TEST(Reorder, IsRecordedPerSiteAndItsMeanInPercent) {
  const std::string a = "layer_0.x_conv_out:input", b = "layer_1.x_conv_out:input";
  const auto [statistics, plan] = record_of({a, b}, "minmax");
  const std::vector<ReorderEffect> effects{{a, 8, 2, 0.75}, {b, 4, 3, 0.25}};
  const Json all = activation_stats(statistics, plan, {}, effects);
  EXPECT_EQ(number(all.at(a, "").at("before_reorder", ""), "range"), 16);
  EXPECT_EQ(number(all.at(a, "").at("after_reorder", ""), "max"), 2);
  EXPECT_EQ(number(all.at(b, ""), "range_reduction_pct"), 25);
  const Json summary = reorder_summary(effects);
  EXPECT_TRUE(summary.at("enabled", "").as_bool(""));
  EXPECT_EQ(number(summary, "avg_range_reduction"), 50);
  EXPECT_EQ(number(summary, "total_layers"), 2);
  const Json none = reorder_summary({});
  EXPECT_FALSE(none.at("enabled", "").as_bool(""));
  EXPECT_TRUE(none.at("avg_range_reduction", "").is_null());
}

}  // namespace
}  // namespace scute::run_record_test
