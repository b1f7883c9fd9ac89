#include "scute/regressor/trace.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "scute/base/error.h"
#include "scute/io/testing.h"
#include "scute/regressor/evaluation.h"

namespace scute::trace_test {
namespace {

using fixtures::error_of;
using fixtures::Folder;
using ::testing::AllOf;
using ::testing::HasSubstr;
using Mode = RegressorQuantization::Mode;

const std::string kModels = "tests/golden/regressor/";

/// Quantized by the short form, written and read again.
RegressorCheckpoint quantized(const Folder& folder, const RegressorFlags& flags) {
  const auto checkpoint = read_regressor_checkpoint(kModels + "slim_dwconv.pt");
  RegressorEvalOptions options;
  options.features = "tests/golden/regressor_features";
  options.flags = flags;
  options.diagnose = false;
  const RegressorEvaluation made = evaluate_regressor(checkpoint, options);
  write_calibrated_regressor(folder / "c.pt", checkpoint, *made.calibrated);
  return read_regressor_checkpoint(folder / "c.pt");
}

const TracedFormat& find(const RegressorTrace& trace, const std::string& layer,
                         const std::string& acts) {
  for (const TracedFormat& scale : trace.scales) {
    if (scale.layer == layer && scale.acts == acts) return scale;
  }
  fail(layer, acts, "none");
}

TEST(TraceRegressor, EveryFormatIsThereWithWhatChoseIt) {
  const Folder folder;
  const RegressorCheckpoint checkpoint = quantized(folder, {.bits = 8});
  const RegressorTrace trace = trace_regressor(checkpoint);
  EXPECT_EQ(trace.description, "integer, 8 bits, dynamic, minmax x 1.25, all layers");
  size_t count = 2 * checkpoint.formats->layers.size() + checkpoint.formats->values.size();
  for (const auto& [name, layer] : checkpoint.formats->layers) count += layer.bias != 0;
  EXPECT_EQ(trace.scales.size(), count);
  for (const TracedFormat& scale : trace.scales) EXPECT_FALSE(scale.edited) << scale.layer;

  const TracedFormat& input = find(trace, "proj", "input");
  const Statistic& seen = checkpoint.statistics->sites.at("proj:input");
  EXPECT_EQ(input.site, "proj:input");
  EXPECT_EQ(input.policy, "minmax");
  EXPECT_THAT(input.because, HasSubstr("1.25 times as wide"));
  EXPECT_EQ(input.seen, std::pair(double{seen.min}, double{seen.max}));
  const double most = std::max(-input.seen->first, input.seen->second);
  EXPECT_NEAR(input.hi, 1.25 * most, 1e-6 * most);
  EXPECT_EQ(find(trace, "blocks.0.u_act:output", "value").site, "blocks.0.ssm.dt_proj:input");
  EXPECT_EQ(find(trace, "proj", "weight").count, checkpoint.config.projected);
  EXPECT_EQ(Json::parse(trace.to_json().dump(1), "t").at("scales", "").as_array("").size(), count);
  const std::string csv = trace.to_csv();
  EXPECT_EQ(std::ranges::count(csv, '\n'), std::ssize(trace.scales) + 1);
}

TEST(TraceRegressor, SaysWhichScaleIsNoLongerThePlans) {
  const Folder folder;
  RegressorCheckpoint checkpoint = quantized(folder, {.bits = 16});
  checkpoint.formats->layers.find("head")->second.input.scale *= 2;
  const RegressorTrace trace = trace_regressor(checkpoint);
  for (const TracedFormat& scale : trace.scales) {
    EXPECT_EQ(scale.edited, scale.layer == "head" && scale.acts == "input") << scale.layer;
  }
}

TEST(TraceRegressor, OtherFilesSayWhatIsNotRecorded) {
  for (const char* name :
       {"calibrated_python.pt", "calibrated_extension.pt", "calibrated_old.pt"}) {
    const RegressorTrace trace = trace_regressor(read_regressor_checkpoint(kModels + name));
    EXPECT_GE(trace.scales.size(), 8U) << name;
    ASSERT_EQ(trace.notes.size(), 1U) << name;
    EXPECT_THAT(trace.notes[0], HasSubstr("no plan inside")) << name;
  }
  EXPECT_THAT(error_of([] { trace_regressor(read_regressor_checkpoint(kModels + "slim.pt")); }),
              AllOf(HasSubstr("slim.pt"), HasSubstr("no scales")));
}

TEST(TraceRegressor, FixedPointNeedsNoPlanAndWrappedCodesShowTheirZero) {
  const Folder folder;
  const RegressorTrace fixed = trace_regressor(quantized(folder, {.mode = Mode::fixed}));
  EXPECT_TRUE(fixed.notes.empty());
  for (const TracedFormat& scale : fixed.scales) EXPECT_EQ(scale.because, "Q8.8") << scale.layer;
  const RegressorTrace wraps =
      trace_regressor(quantized(folder, {.backend = RegressorBackend::extension, .bits = 8}));
  const TracedFormat& head = find(wraps, "head", "input");
  ASSERT_TRUE(head.zero);
  EXPECT_NEAR(head.hi - head.lo, 255 * double{head.most}, 1e-5);
  EXPECT_EQ(head.policy, "minmax");
  EXPECT_FALSE(find(wraps, "patch_embedding", "input").zero);
}

}  // namespace
}  // namespace scute::trace_test
