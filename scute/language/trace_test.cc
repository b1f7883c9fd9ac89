#include "scute/language/trace.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "scute/base/error.h"
#include "scute/language/scales.h"
#include "scute/language/test_models.h"

namespace scute::trace_test {
namespace {

using fixtures::Folder;
using testing::Each;
using testing::ElementsAre;
using testing::Field;
using testing::HasSubstr;
using testing::IsSupersetOf;
using testing_models::Dialect;

namespace fs = std::filesystem;

class Traced : public testing::TestWithParam<MixerKind> {
 protected:
  /// A W8A8 model in "low".
  void make(QuantizeOptions options = {}, const char* policy = "percentile:0.99") {
    model_ = testing_models::make_model(folder_.path("float"), GetParam(), Dialect::state_spaces);
    statistics_ = testing_models::make_statistics(model_, folder_.path("ids.npy"));
    low_ = testing_models::make_low_bit(model_, statistics_, options, folder_.path("low"), policy);
  }
  Trace trace() const { return trace_scales(folder_.path("low")); }
  bool mamba1() const { return GetParam() == MixerKind::mamba1; }

  Folder folder_;
  ModelDescription model_;
  StatisticsSet statistics_;
  LowBitModel low_;
};
INSTANTIATE_TEST_SUITE_P(Both, Traced, testing::Values(MixerKind::mamba1, MixerKind::mamba2),
                         [](const auto& tested) {
                           return tested.param == MixerKind::mamba1 ? "Mamba1" : "Mamba2";
                         });

std::vector<std::string> steps_of(const TracedLayer& layer) {
  std::vector<std::string> out;
  for (const TracedScale& scale : layer.scales) {
    if (out.empty() || out.back() != scale.stored.step) out.push_back(scale.stored.step);
  }
  return out;
}

TEST_P(Traced, ScalesComeInTheOrderOfTheChain) {
  make();
  const Trace found = trace();
  ASSERT_EQ(found.layers.size(), 2u);
  for (const TracedLayer& layer : found.layers) {
    EXPECT_EQ(layer.format, "W8A8");
    if (mamba1()) {
      EXPECT_THAT(steps_of(layer),
                  ElementsAre("norm → in_proj", "in_proj → conv1d", "conv1d → x_proj",
                              "x_proj → scan", "scan", "scan → out_proj"));
    } else {
      EXPECT_THAT(steps_of(layer),
                  ElementsAre("norm → in_proj", "in_proj → conv1d", "conv1d → scan", "scan",
                              "scan → gated norm", "gated norm → out_proj"));
    }
  }
}

TEST_P(Traced, EveryScaleThatQuantizeWritesHasASiteOfThePlan) {
  for (const bool shared : {false, true}) {
    QuantizeOptions options;
    options.shared_scales = shared && mamba1();
    options.head = true;
    make(options);
    const Trace found = trace();
    size_t scales = 0, expected = 0;
    for (const NamedTensor& item : low_.tensors) {
      expected += item.name.ends_with("_scale") && item.name.find("weight") == std::string::npos;
    }
    std::set<std::string> sites;
    for (const TracedLayer& layer : found.layers) {
      scales += layer.scales.size();
      for (const TracedRange& range : layer.ranges) {
        sites.insert(range.site);
        EXPECT_FALSE(range.edited) << range.site << ": " << range.remark;
      }
    }
    EXPECT_EQ(scales, expected);
    std::set<std::string> planned;
    for (const auto& [site, decision] : low_.plan.sites) planned.insert(site);
    EXPECT_EQ(sites, planned);
    fs::remove_all(folder_.path("low"));
  }
}

TEST_P(Traced, RangeClippedShareAndSqnrAreThoseOfThePlan) {
  make();
  for (const bool with_statistics : {true, false}) {
    if (!with_statistics) fs::remove(folder_.path("low/statistics.safetensors"));
    const Trace found = trace();
    for (const TracedRange& range : found.layers[1].ranges) {
      SCOPED_TRACE(range.site);
      const Decision& decision = low_.plan.sites.at(range.site);
      // A scale for each channel of a convolution's input: its own extremes, nothing is cut.
      const bool channels = range.site.find("conv") != std::string::npos &&
                            range.site.find("_out") == std::string::npos;
      EXPECT_EQ(range.policy, channels ? "minmax" : "percentile");
      EXPECT_EQ(range.because, decision.because);
      EXPECT_EQ(range.lo, decision.lo);
      EXPECT_EQ(range.hi, decision.hi);
      EXPECT_EQ(range.seen, std::make_pair(decision.before_lo, decision.before_hi));
      EXPECT_EQ(*range.clipped > 0, !channels);
      EXPECT_DOUBLE_EQ(*range.clipped, decision.clipped);
      // Two sums of the same terms in another order.
      EXPECT_NEAR(*range.sqnr, decision.sqnr, 1e-9);
      EXPECT_EQ(range.measured, with_statistics ? "statistics.safetensors" : "plan.json");
    }
  }
}

TEST_P(Traced, StatesAreMeasuredAlongTheWay) {
  make();
  const Trace found = trace();
  const auto& ranges = found.layers[0].ranges;
  const auto state = std::ranges::find(ranges, "layer_0.ssm_state_act:input", &TracedRange::site);
  ASSERT_NE(state, ranges.end());
  EXPECT_EQ(state->statistic, "layer_0.ssm_state_act:steps");
}

TEST_P(Traced, FoldersWithoutTheirRecordsSayWhatCannotBeKnown) {
  make();
  for (const char* name : {"plan.json", "statistics.safetensors", "recipe.json"}) {
    fs::remove(folder_.path(std::string("low/") + name));
  }
  // As another version might have written it: no "scute" object, not even a config that is read.
  write_file(folder_.path("low/config.json"), "{}");
  const Trace found = trace();
  EXPECT_THAT(found.notes, IsSupersetOf({HasSubstr("policy: not recorded (no plan.json)"),
                                         HasSubstr("statistic: not recorded"),
                                         HasSubstr("no recipe.json"), HasSubstr("\"scute\"")}));
  ASSERT_EQ(found.layers.size(), 2u);
  EXPECT_EQ(found.layers[0].format, "");
  EXPECT_GE(found.layers[0].scales.size(), 10u);
  for (const TracedRange& range : found.layers[0].ranges) {
    EXPECT_EQ(range.policy, "");
    EXPECT_EQ(range.measured, "");
    EXPECT_FALSE(range.seen || range.clipped || range.sqnr);
    EXPECT_GT(range.hi, 0);
    EXPECT_EQ(range.lo, -range.hi);
  }
  const Json first = found.to_json().at("layers", "").as_array("")[0];
  const Json scale = first.at("scales", "").as_array("")[0];
  EXPECT_TRUE(scale.at("policy", "").is_null() && scale.at("sqnr_db", "").is_null());
}

TEST_P(Traced, AScaleThatIsNoLongerThePlansSaysSo) {
  make();
  const std::string file = folder_.path("low/model.safetensors");
  const std::string name = "backbone.layers.1.mixer.in_proj.input_scale";
  SafetensorsFile all = read_safetensors(file);
  for (NamedTensor& item : all.tensors) {
    if (item.name != name) continue;
    const float twice = 2 * item.tensor.values<float>()[0];
    item.tensor = Tensor::of<float>({1}, std::span(&twice, 1));
  }
  write_safetensors(file, all.tensors, all.metadata);
  const Trace found = trace();
  for (const TracedLayer& layer : found.layers) {
    for (const TracedRange& range : layer.ranges) {
      const bool changed = range.site == "layer_1.in_proj:input@rotated";
      EXPECT_EQ(range.edited, changed) << range.site;
      if (!changed) continue;
      EXPECT_THAT(range.remark, HasSubstr("edited: the plan asks for"));
      const Decision& decision = low_.plan.sites.at(range.site);
      EXPECT_NEAR(range.hi, 2 * std::max(-decision.lo, decision.hi), 1e-5 * range.hi);
      EXPECT_LT(*range.clipped, decision.clipped);
    }
  }
}

TEST_P(Traced, CsvHasOneLineAScaleAndAsManyCellsAsTitles) {
  make();
  const Trace found = trace();
  std::istringstream lines(found.to_csv());
  size_t count = 0, cells = 0;
  for (std::string line; std::getline(lines, line); ++count) {
    size_t commas = 0;
    bool quoted = false;
    for (const char c : line) {
      quoted ^= c == '"';
      commas += c == ',' && !quoted;
    }
    if (count == 0) cells = commas;
    EXPECT_EQ(commas, cells) << line;
  }
  EXPECT_EQ(count, 1 + found.layers[0].scales.size() + found.layers[1].scales.size());
}

TEST_P(Traced, GroupAndChannelScalesAreBoundedByThePlan) {
  QuantizeOptions options;
  options.group_heads = !mamba1();
  options.state_clip = 0.5;
  make(options);
  const Trace found = trace();
  for (const TracedRange& range : found.layers[0].ranges) EXPECT_FALSE(range.edited) << range.site;
  const auto& scales = found.layers[0].scales;
  const auto state = std::ranges::find_if(scales, [](const TracedScale& scale) {
    return scale.stored.tensor.find("ssm_state") != std::string::npos && scale.shape != Shape{1};
  });
  ASSERT_NE(state, scales.end());
  EXPECT_EQ(state->shape, mamba1() ? Shape({128}) : Shape({1, 4, 4, 128}));
  EXPECT_LT(state->smallest, state->largest);
}

TEST_P(Traced, FloatModelsAreRefused) {
  make();
  EXPECT_THROW(trace_scales(folder_.path("float")), Error);
  EXPECT_THROW(trace_scales(folder_.path("nowhere")), Error);
}

TEST(ScaleNames, UnknownScalesAreListedAndHugeLayersAreNot) {
  const std::vector<std::string> names{
      "backbone.layers.0.mixer.future.y_scale",      "backbone.layers.0.mixer.in_proj.weight_scale",
      "backbone.layers.9223372036854775807.mixer.D", "backbone.layers.10.mixer.x_proj.input_scale",
      "backbone.layers.2.mixer.x_proj.input_scale",  "lm_head.input_scale"};
  const auto found = find_scales(names, MixerKind::mamba1, {});
  std::vector<std::string> sites;
  for (const StoredScale& scale : found) sites.push_back(scale.site);
  EXPECT_THAT(sites,
              ElementsAre("", "layer_2.x_proj:input", "layer_10.x_proj:input", "lm_head:input"));
  EXPECT_EQ(layer_of(names[2]), kHeadLayer);
}

}  // namespace
}  // namespace scute::trace_test
