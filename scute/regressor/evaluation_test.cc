#include "scute/regressor/evaluation.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "scute/base/error.h"
#include "scute/tensor/tensor.h"

namespace scute::evaluation_test {
namespace {

using testing::HasSubstr;
using Mode = RegressorQuantization::Mode;

const std::string kModels = "tests/golden/regressor/";
const std::string kFeatures = "tests/golden/regressor_features";

RegressorCheckpoint slim() { return read_regressor_checkpoint(kModels + "slim.pt"); }
RegressorCheckpoint calibrated() {
  return read_regressor_checkpoint(kModels + "calibrated_python.pt");
}

TEST(RegressorPlan, AFloatCheckpointTakesIntegersAndAllLayers) {
  const RegressorPlan plan = plan_regressor(slim(), {.bits = 8});
  EXPECT_EQ(plan.how.backend, RegressorBackend::integer);
  EXPECT_EQ(plan.how.bits, 8);
  EXPECT_EQ(plan.how.mode, Mode::dynamic);
  EXPECT_TRUE(plan.how.all);
  EXPECT_FALSE(plan.stored);
  EXPECT_EQ(plan.role, FeatureRole::train);
  EXPECT_EQ(plan.batches, 50);
  EXPECT_EQ(plan.ranges.headroom, 1.25);
}

TEST(RegressorPlan, StoredScalesAreUsedUntilAFlagAsksForOthers) {
  EXPECT_TRUE(plan_regressor(calibrated(), {}).stored);
  EXPECT_EQ(plan_regressor(calibrated(), {}).how.backend, RegressorBackend::lsq);
  const RegressorPlan other =
      plan_regressor(calibrated(), {.backend = RegressorBackend::extension});
  EXPECT_TRUE(other.stored);
  EXPECT_EQ(other.how.backend, RegressorBackend::extension);
  EXPECT_FALSE(plan_regressor(calibrated(), {.bits = 8}).stored);
  EXPECT_FALSE(plan_regressor(calibrated(), {.headroom = 1.5}).stored);
  EXPECT_FALSE(plan_regressor(calibrated(), {.proj = true}).stored);
}

TEST(RegressorPlan, Fixed88IsSixteenBits) {
  const RegressorPlan plan = plan_regressor(slim(), {.bits = 8, .mode = Mode::fixed});
  EXPECT_EQ(plan.how.bits, 16);
  ASSERT_EQ(plan.remarks.size(), 1U);
  EXPECT_THAT(plan.remarks[0], HasSubstr("16 bits are used"));
  EXPECT_TRUE(plan_regressor(slim(), {.mode = Mode::fixed}).remarks.empty());
}

TEST(RegressorPlan, FlagsChooseLayersAndNoneIsRefused) {
  const RegressorPlan plan = plan_regressor(slim(), {.head = true});
  EXPECT_FALSE(plan.how.all);
  EXPECT_EQ(rounded_layers(slim().config, plan.how), std::vector<std::string>{"head"});
}

TEST(RegressorPlan, IsDescribedInOneLine) {
  RegressorFlags flags{.bits = 8, .proj = true, .head = true, .method = RegressorMethod::mse};
  EXPECT_EQ(describe(plan_regressor(slim(), flags)),
            "integer, 8 bits, dynamic, mse x 1.25, proj + head");
  EXPECT_EQ(describe(plan_regressor(slim(), {.mode = Mode::fixed})),
            "integer, 16 bits, Q8.8, all layers");
}

TEST(RegressorEvaluation, CalibratesOnTheRoleAskedForAndNoMoreThanAsked) {
  RegressorEvalOptions options{.features = kFeatures, .batch = 4, .flags = {.batches = 3}};
  const RegressorEvaluation few = evaluate_regressor(slim(), options);
  EXPECT_EQ(few.calibration_windows, 12);
  options.flags.batches = 0;
  const RegressorEvaluation all = evaluate_regressor(slim(), options);
  EXPECT_EQ(all.calibration_windows, 30);  // the train role's
  EXPECT_NE(few.features_sha256, few.calibration_sha256);
  EXPECT_TRUE(all.remarks.empty());
  options.flags.role = FeatureRole::eval;
  const RegressorEvaluation same = evaluate_regressor(slim(), options);
  EXPECT_EQ(same.calibration_windows, 23);
  EXPECT_EQ(same.features_sha256, same.calibration_sha256);
  ASSERT_EQ(same.remarks.size(), 1U);
}

TEST(RegressorEvaluation, SixteenBitsAreCloserThanEightAndBothAreMeasuredAgainstFloats) {
  RegressorEvalOptions options{.features = kFeatures, .flags = {.bits = 8, .batches = 0}};
  const RegressorEvaluation eight = evaluate_regressor(slim(), options);
  options.flags.bits = 16;
  const RegressorEvaluation sixteen = evaluate_regressor(slim(), options);
  ASSERT_EQ(eight.stages.size(), 2U);
  const double coarse = eight.stages[1].against_baseline->rms_deviation;
  const double fine = sixteen.stages[1].against_baseline->rms_deviation;
  // 256 times as many codes, of which the wider margin of 16 bits takes a factor of 1.6.
  EXPECT_LT(fine, coarse / 50);
  EXPECT_GT(fine, 0);
}

TEST(RegressorEvaluation, CutPositionsAreCounted) {
  // Calibrated on one window, without headroom: other positions leave its range.
  RegressorEvalOptions options{
      .features = kFeatures, .batch = 1, .flags = {.headroom = 1.0, .batches = 1}};
  const RegressorEvaluation got = evaluate_regressor(slim(), options);
  EXPECT_THAT(got.remarks, testing::Contains(HasSubstr("predictions are cut")));
  options.flags = {.bits = 16, .batches = 0};
  EXPECT_TRUE(evaluate_regressor(slim(), options).remarks.empty());
}

TEST(RegressorEvaluation, OriginRunsInIntegersToo) {
  RegressorEvalOptions options{.features = kFeatures, .flags = {.bits = 16, .batches = 0}};
  const RegressorCheckpoint origin = read_regressor_checkpoint(kModels + "origin.pt");
  const RegressorEvaluation got = evaluate_regressor(origin, options);
  ASSERT_TRUE(got.calibrated->formats.has_value());
  // Positions are metres; a code of the output is 1e-4 of them.
  EXPECT_LT(got.stages[1].against_baseline->rms_deviation, 2e-3);
}

TEST(EvaluateRegressor, TheFirstSiteThatIsNotFiniteIsNamed) {
  RegressorCheckpoint checkpoint = slim();
  Weights large(checkpoint.path);
  for (const std::string& name : checkpoint.weights.names()) {
    std::vector<float> values = to_vector(checkpoint.weights.at(name));
    // Finite, and the sums behind them are not.
    const float times = name == "backbone.patch_embedding.weight" ? 1e38F
                        : name == "proj.weight"                   ? 1e4F
                                                                  : 1.0F;
    for (float& x : values) x *= times;
    large.add(name, Tensor::of<float>(checkpoint.weights.at(name).shape(), values));
  }
  checkpoint.weights = std::move(large);
  const RegressorEvaluation found = evaluate_regressor(checkpoint, {.features = kFeatures});
  EXPECT_THAT(found.stages.front().not_finite,
              testing::AllOf(HasSubstr(" first at "), HasSubstr("window 0 of Grid")));
  EXPECT_EQ(evaluate_regressor(slim(), {.features = kFeatures}).stages.front().not_finite, "");
}

}  // namespace
}  // namespace scute::evaluation_test
