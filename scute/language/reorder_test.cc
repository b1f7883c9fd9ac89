#include "scute/language/reorder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "scute/base/error.h"
#include "scute/language/test_models.h"

namespace scute::reorder_test {
namespace {

using fixtures::Folder;
using testing::HasSubstr;
using testing::ThrowsMessage;
using testing_models::Dialect;

/// A Mamba-2 model of 2 layers with 2 heads of 64 channels.
struct Reorder : testing::Test {
  Folder folder;
  ModelDescription model =
      testing_models::make_model(folder.path("m"), MixerKind::mamba2, Dialect::state_spaces);
  StatisticsSet statistics = testing_models::make_statistics(model, folder.path("ids.npy"));

  Statistic& x(int layer) {
    return statistics.sites.at("layer_" + std::to_string(layer) + ".x_conv_out:input");
  }
};

TEST_F(Reorder, GroupsOfEqualChannelsTakeTheRangeOfTheirOwn) {
  // Each head: 16 channels each of 1, 2, 4 and 8, mixed. Four channel groups separate them exactly,
  // so the mean over channels is (1 + 2 + 4 + 8) / 4 = 3.75 of 8.
  for (size_t c = 0; c < x(0).channel_absmax.size(); ++c) {
    x(0).channel_absmax[c] = x(0).channel_meanabs[c] = static_cast<float>(1 << (c * 7 % 4));
  }
  const auto effects = reorder_effect(model, statistics, {});
  ASSERT_EQ(effects.size(), 4u);
  EXPECT_EQ(effects[0].site, "layer_0.x_conv_out:input");
  EXPECT_EQ(effects[1].site, "layer_0.ssm_state_act:input");
  EXPECT_EQ(effects[3].site, "layer_1.ssm_state_act:input");
  EXPECT_EQ(effects[0].before, 8);
  EXPECT_EQ(effects[0].after, 3.75);
  EXPECT_EQ(effects[0].reduction, 1 - 3.75 / 8);
}

TEST_F(Reorder, ChannelsThatAreAllAlikeGainNothingAndZerosAreNoDivision) {
  for (Statistic* site : {&x(0), &x(1)}) {
    const float value = site == &x(0) ? 3.0f : 0.0f;
    std::ranges::fill(site->channel_absmax, value);
    std::ranges::fill(site->channel_meanabs, value);
  }
  const auto effects = reorder_effect(model, statistics, {});
  EXPECT_EQ(effects[0].reduction, 0);
  EXPECT_EQ(effects[0].after, 3);
  EXPECT_EQ(effects[2].site, "layer_1.x_conv_out:input");
  EXPECT_EQ(effects[2].reduction, 0);
}

TEST_F(Reorder, MeasuredDataGainSomethingAndNeverLose) {
  for (const ReorderEffect& effect : reorder_effect(model, statistics, {})) {
    EXPECT_GT(effect.reduction, 0) << effect.site;  // random channels differ
    EXPECT_LT(effect.after, effect.before) << effect.site;
  }
}

TEST_F(Reorder, WhatIsMissingIsNamed) {
  x(1).channel_absmax.clear();
  EXPECT_THAT([&] { reorder_effect(model, statistics, {}); },
              ThrowsMessage<Error>(HasSubstr("layer_1.x_conv_out:input")));
  statistics.sites.erase("layer_1.x_conv_out:input");
  EXPECT_THAT([&] { reorder_effect(model, statistics, {}); },
              ThrowsMessage<Error>(HasSubstr("layer_1.x_conv_out:input")));
  const ModelDescription other =
      testing_models::make_model(folder.path("m1"), MixerKind::mamba1, Dialect::state_spaces);
  EXPECT_THAT([&] { reorder_effect(other, statistics, {}); },
              ThrowsMessage<Error>(HasSubstr("a Mamba-2 model")));
}

TEST_F(Reorder, TheEffectIsThatOfRangesThatThePlanCaps) {
  // As above, 16 channels each of 1, 2, 4 and 8 a head; a range by hand of ±3 leaves 1, 2, 3 and 3.
  for (size_t c = 0; c < x(0).channel_absmax.size(); ++c) {
    x(0).channel_absmax[c] = x(0).channel_meanabs[c] = static_cast<float>(1 << (c * 7 % 4));
  }
  Plan plan;
  plan.sites["layer_0.x_conv_out:input"].lo = -3;
  plan.sites["layer_0.x_conv_out:input"].hi = 2;
  const auto effects = reorder_effect(model, statistics, plan);
  EXPECT_EQ(effects[0].before, 3);
  EXPECT_EQ(effects[0].after, 2.25);
  EXPECT_EQ(effects[0].reduction, 0.25);
}

TEST_F(Reorder, GroupsFollowTheirLargestValuesUnlessAPercentileIsAskedForOrARangeIsByHand) {
  PlanOptions options;
  options.policy = Policy::parse("quamba:0.9");
  const Plan quamba = make_plan(statistics.sites, options);
  const std::string site = "layer_1.x_conv_out:input", state = "layer_1.ssm_state_act:input";
  const auto largest = [](const Decision& d) { return std::max(-d.lo, d.hi); };
  const auto seen = [this](const std::string& name) {
    const Statistic& s = statistics.sites.at(name);
    return static_cast<double>(std::max(-s.min, s.max));
  };
  ASSERT_LT(largest(quamba.sites.at(site)), seen(site));
  const Plan plan = grouped_plan(quamba, model, statistics, std::nullopt);
  EXPECT_EQ(largest(plan.sites.at(site)), seen(site));
  EXPECT_EQ(largest(plan.sites.at(state)), seen("layer_1.ssm_state_act:steps"));
  EXPECT_THAT(plan.sites.at(site).because, HasSubstr("group"));
  EXPECT_EQ(plan.sites.at("layer_1.dt_act:input").lo, quamba.sites.at("layer_1.dt_act:input").lo);

  const Plan capped = grouped_plan(quamba, model, statistics, 0.9);
  EXPECT_EQ(
      capped.sites.at(site).hi,
      decide(Policy::parse("percentile:0.9"), site, statistics.sites.at(site), GridSpec{}).hi);
  EXPECT_LT(largest(capped.sites.at(site)), seen(site));

  Plan by_hand = quamba;
  by_hand.sites[site] = Decision{};
  by_hand.sites[site].lo = -0.25;
  by_hand.sites[site].hi = 0.125;
  EXPECT_EQ(grouped_plan(by_hand, model, statistics, std::nullopt).sites.at(site).lo, -0.25);
}

}  // namespace
}  // namespace scute::reorder_test
