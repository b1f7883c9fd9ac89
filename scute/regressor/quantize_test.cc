#include "scute/regressor/quantize.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "scute/io/file.h"
#include "scute/io/testing.h"
#include "scute/models/regressor/test_regressors.h"
#include "scute/regressor/evaluation.h"

namespace scute::quantize_test {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using testing_regressors::error_of;
using testing_regressors::same_bits;
using Mode = RegressorQuantization::Mode;

const std::string kModels = "tests/golden/regressor/";
const std::string kFeatures = "tests/golden/regressor_features";

RegressorCheckpoint model(const std::string& name = "slim.pt") {
  return read_regressor_checkpoint(kModels + name);
}

FeatureFolder windows(const RegressorCheckpoint& checkpoint, FeatureRole role) {
  return read_feature_folder(kFeatures,
                             {role, checkpoint.config.features, checkpoint.config.window, true});
}

StatisticsSet measured(const RegressorCheckpoint& checkpoint) {
  StatisticsSet out;
  out.sites = measure_regressor(build_regressor(checkpoint),
                                windows(checkpoint, FeatureRole::train), 50 * 64, Threads(1));
  out.meta["model_sha256"] = hash_regressor(checkpoint);
  return out;
}

Tensor predictions(const RegressorCheckpoint& checkpoint, const AnyRegressor& network) {
  return predict_folder({&network}, windows(checkpoint, FeatureRole::eval), Threads(1))
      .predicted.front();
}

/// The short form of eval beside decide, quantize, write, read and run, each on its own.
void expect_same(const std::string& name, const RegressorFlags& flags) {
  SCOPED_TRACE(name + ", " + describe(plan_regressor(model(name), flags)));
  const RegressorCheckpoint checkpoint = model(name);
  RegressorEvalOptions options;
  options.features = kFeatures;
  options.flags = flags;
  options.diagnose = false;
  options.threads = 1;
  const RegressorEvaluation brief = evaluate_regressor(checkpoint, options);

  const RegressorPlan how = plan_regressor(checkpoint, flags);
  const StatisticsSet statistics = measured(checkpoint);
  Plan plan;
  if (how.how.mode != Mode::fixed) {
    plan = decide_regressor(statistics.sites, how.how, how.ranges);
    plan = Plan::from_json(Json::parse(plan.to_json().dump(1), "plan"), "plan");
  }
  const CalibratedRegressor made = quantize_regressor(checkpoint, how.how, plan, &statistics);
  const fixtures::Folder folder;
  write_calibrated_regressor(folder / "c.pt", checkpoint, made);
  const RegressorCheckpoint again = read_regressor_checkpoint(folder / "c.pt");
  EXPECT_TRUE(
      same_bits(predictions(again, build_stored_regressor(again)), brief.stages.back().predicted));
}

TEST(QuantizeRegressor, FourStepsAreTheShortFormToTheLastBit) {
  for (const char* name : {"slim.pt", "slim_dwconv.pt", "slim_average.pt", "origin.pt"}) {
    for (const int bits : {8, 16}) {
      for (const Mode mode : {Mode::dynamic, Mode::per_layer}) {
        expect_same(name, {.bits = bits, .mode = mode});
      }
    }
    expect_same(name, {.mode = Mode::fixed});
  }
  for (const auto backend : {RegressorBackend::lsq, RegressorBackend::extension}) {
    for (const auto method : {RegressorMethod::p99, RegressorMethod::mse}) {
      for (const int bits : {8, 16}) {
        expect_same("slim.pt", {.backend = backend, .bits = bits, .method = method});
      }
    }
  }
  expect_same("slim.pt", {.bits = 8, .proj = true, .head = true, .headroom = 1.3});
}

TEST(QuantizeRegressor, ACheckpointKeepsStatisticsAndThePlanInUse) {
  const RegressorCheckpoint checkpoint = model();
  const StatisticsSet statistics = measured(checkpoint);
  RegressorQuantization how;
  how.backend = RegressorBackend::integer;
  how.mode = Mode::dynamic;
  how.bits = 8;
  how.proj = true;
  const Plan plan = decide_regressor(statistics.sites, how, {});
  const fixtures::Folder folder;
  write_calibrated_regressor(folder / "c.pt", checkpoint,
                             quantize_regressor(checkpoint, how, plan, &statistics));
  const RegressorCheckpoint again = read_regressor_checkpoint(folder / "c.pt");
  ASSERT_TRUE(again.plan);
  ASSERT_EQ(again.plan->sites.size(), 1U) << "proj alone is rounded";
  EXPECT_EQ(again.plan->sites.at("proj:input").lo, plan.sites.at("proj:input").lo);
  ASSERT_TRUE(again.statistics);
  EXPECT_EQ(again.statistics->sites, statistics.sites);
  EXPECT_EQ(again.statistics->meta, statistics.meta);
  // Files of before have neither.
  for (const char* old : {"slim.pt", "calibrated_python.pt", "calibrated_extension.pt"}) {
    EXPECT_FALSE(model(old).plan) << old;
    EXPECT_FALSE(model(old).statistics) << old;
  }
  // Float weights are there still: the stored statistics decide again, without a pass.
  how.bits = 16;
  Plan wide = decide_regressor(again.statistics->sites, how, {});
  wide.meta = again.statistics->meta;  // of the float model, which this one is still
  const auto second = quantize_regressor(again, how, wide, nullptr);
  EXPECT_EQ(second.rounding.at("proj").bits, 16);
}

TEST(QuantizeRegressor, SpoiltPartsOfAFileAreNamed) {
  const RegressorCheckpoint checkpoint = model();
  StatisticsSet statistics = measured(checkpoint);
  RegressorQuantization how;
  how.backend = RegressorBackend::integer;
  how.mode = Mode::dynamic;
  how.bits = 8;
  how.all = true;
  const Plan plan = decide_regressor(statistics.sites, how, {});
  const TorchValue part = scute_part(quantize_regressor(checkpoint, how, plan, &statistics));
  const auto refusal = [&](std::string_view key, TorchValue value) {
    auto dict = std::get<TorchValue::Dict>(part.value);
    for (auto& [name, member] : dict) {
      if (name == key) member = value;
    }
    RegressorCheckpoint out = checkpoint;
    return error_of([&] { read_scute_part(TorchValue(dict), "m.pt", out); });
  };
  EXPECT_EQ(refusal("none", TorchValue()), "");
  EXPECT_THAT(refusal("ranges", TorchValue(std::string("{"))), HasSubstr("m.pt: scute.ranges"));
  EXPECT_THAT(refusal("ranges", TorchValue(true)), HasSubstr("m.pt: scute.ranges"));
  EXPECT_THAT(refusal("statistics", TorchValue(TorchValue::Dict{})),
              HasSubstr("m.pt: scute.statistics"));
}

TEST(QuantizeRegressor, AnotherModelsPlanOrStatisticsAreRefused) {
  const RegressorCheckpoint checkpoint = model();
  const StatisticsSet own = measured(checkpoint), other = measured(model("slim_gate_off.pt"));
  RegressorQuantization how;
  how.backend = RegressorBackend::integer;
  how.bits = 8;
  how.all = true;
  how.mode = Mode::dynamic;
  Plan plan = decide_regressor(own.sites, how, {});
  EXPECT_NO_THROW(quantize_regressor(checkpoint, how, plan, &own));
  EXPECT_THAT(error_of([&] { quantize_regressor(checkpoint, how, plan, &other); }),
              AllOf(HasSubstr("statistics: expected those of slim.pt"), HasSubstr("SHA-256")));
  plan.meta = other.meta;
  EXPECT_THAT(error_of([&] { quantize_regressor(checkpoint, how, plan, &own); }),
              AllOf(HasSubstr("plan: expected ranges of slim.pt"), HasSubstr("SHA-256")));
  plan.meta = Json();
  plan.sites["layer_0.x_proj:input"] = {};
  EXPECT_THAT(error_of([&] { quantize_regressor(checkpoint, how, plan, &own); }),
              AllOf(HasSubstr("sites of slim.pt"), HasSubstr("layer_0.x_proj:input")));
}

TEST(QuantizeRegressor, BitsAreThoseOfThePlan) {
  const RegressorCheckpoint checkpoint = model();
  EXPECT_EQ(input_bits(checkpoint.config, {}, 16), 16);
  Plan plan;
  plan.sites["head:input"].grid.bits = 8;
  plan.sites["norm_f:input"].grid.bits = 16;
  EXPECT_EQ(input_bits(checkpoint.config, plan, 16), 8);
}

TEST(DescribeRegressor, SaysWhatChoseTheRanges) {
  Plan plan;
  EXPECT_EQ(describe_ranges(plan), "ranges of a plan");
  plan.meta["policy"] = "mse";
  EXPECT_EQ(describe_ranges(plan), "mse x 1");
  plan.meta["headroom"] = 1.25;
  RegressorQuantization how;
  how.head = true;
  EXPECT_EQ(describe(how, describe_ranges(plan)), "lsq, 16 bits, dynamic, mse x 1.25, head");
}

}  // namespace
}  // namespace scute::quantize_test
