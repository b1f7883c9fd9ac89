#include "scute/cobra/trace.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <sstream>

#include "scute/base/error.h"
#include "scute/cobra/test_cobra_quantize.h"
#include "scute/cobra/writer.h"
#include "scute/io/file.h"
#include "scute/language/test_models.h"

namespace scute::trace_test {
namespace {

namespace fs = std::filesystem;
using namespace cobra_models;
using fixtures::Folder;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsSupersetOf;
using testing::ThrowsMessage;

class TracedCobra : public testing::Test {
 protected:
  void make(const char* format = "W8A8", const char* language = "W8A8") {
    CobraQuantizeOptions options;
    options.format = LayerFormat::parse(format, "");
    options.buckets["llm"] = LayerFormat::parse(language, "");
    low_ =
        quantize_cobra(describe_cobra(kModelPath), plan_of(small_statistics(), "percentile:0.99"),
                       &small_statistics(), options);
    write_cobra(low_, folder_.path("low"), true);
  }
  Trace trace() const { return trace_cobra(folder_.path("low")); }

  Folder folder_;
  LowBitCobra low_;
};

size_t scales_in(const std::vector<NamedTensor>& tensors) {
  return static_cast<size_t>(std::ranges::count_if(
      tensors, [](const NamedTensor& item) { return item.name.ends_with(".input_scale"); }));
}

std::vector<std::string> names_in(const Trace& trace) {
  std::vector<std::string> out;
  for (const TracedLayer& layer : trace.layers) out.push_back(layer.name());
  return out;
}

TEST_F(TracedCobra, EveryScaleAndClipIsTheOneThatQuantizeWrote) {
  make();
  const Trace found = trace();
  ASSERT_THAT(names_in(found),
              ElementsAre("vision.dino", "vision.siglip", "projector", "llm", "0", "1"));
  EXPECT_EQ(found.layers[0].scales.size(), scales_in(low_.towers[0]));
  EXPECT_EQ(found.layers[1].scales.size(), scales_in(low_.towers[1]));
  EXPECT_EQ(found.layers[2].scales.size(), scales_in(low_.projector));
  EXPECT_GT(found.layers[0].scales.size(), 4u);
  size_t clips = 0;
  for (size_t i = 0; i < 4; ++i) {
    const TracedLayer& part = found.layers[i];
    EXPECT_EQ(part.format, "W8A8");
    for (const TracedRange& range : part.ranges) {
      SCOPED_TRACE(range.site);
      const Decision& decision = low_.plan.sites.at(range.site);
      EXPECT_FALSE(range.edited) << range.remark;
      EXPECT_EQ(range.policy, decision.policy);
      EXPECT_EQ(range.because, decision.because);
      EXPECT_EQ(range.lo, decision.lo);
      EXPECT_EQ(range.hi, decision.hi);
      EXPECT_EQ(range.measured, "statistics.safetensors");
      ASSERT_TRUE(range.clipped && range.sqnr);
    }
    for (const TracedRange& clip : part.clips) {
      SCOPED_TRACE(clip.site);
      EXPECT_EQ(static_cast<float>(clip.lo), low_.description.ranges.at(clip.site).first);
      EXPECT_EQ(static_cast<float>(clip.hi), low_.description.ranges.at(clip.site).second);
      EXPECT_FALSE(clip.edited) << clip.remark;
      EXPECT_GT(*clip.clipped, 0);
      EXPECT_FALSE(clip.sqnr) << "nothing is rounded there";
      ++clips;
    }
  }
  EXPECT_EQ(clips, low_.description.ranges.size());
}

TEST_F(TracedCobra, ScalesComeInTheOrderThatTensorsReachThem) {
  make();
  const TracedLayer tower = trace().layers[0];
  std::vector<std::string> steps;
  for (size_t i = 0; i < 6; ++i) steps.push_back(tower.scales[i].stored.step);
  EXPECT_THAT(steps,
              ElementsAre("pixels → patch_embed", "norm1 → attn.qkv", "attention → attn.proj",
                          "norm2 → mlp.fc1", "GELU → mlp.fc2", "norm1 → attn.qkv"));
  EXPECT_EQ(tower.scales[1].stored.tensor, "vision.dino.blocks.0.attn.qkv.input_scale");
  EXPECT_EQ(tower.scales[1].stored.site, "vision.dino.blocks.0.attn.qkv:input");
}

TEST_F(TracedCobra, WhatIsInFloatsHasClipsAlone) {
  make("W4A16", "FP");
  const Trace found = trace();
  EXPECT_THAT(names_in(found), ElementsAre("vision.dino", "vision.siglip", "projector", "llm"));
  for (const TracedLayer& part : found.layers) {
    EXPECT_TRUE(part.scales.empty());
    EXPECT_EQ(part.clips.size(), 1u);
  }
  EXPECT_EQ(found.layers[3].format, "FP");
  EXPECT_THAT(found.notes, IsSupersetOf({HasSubstr("weights alone"), HasSubstr("llm: in floats")}));
}

TEST_F(TracedCobra, FoldersWithoutTheirRecordsSayWhatCannotBeKnown) {
  make();
  for (const char* name : {"plan.json", "statistics.safetensors", "recipe.json"}) {
    fs::remove(folder_.path(std::string("low/") + name));
  }
  const Trace found = trace();
  EXPECT_THAT(found.notes,
              IsSupersetOf({HasSubstr("policy: not recorded (no plan.json)"),
                            HasSubstr("statistic: not recorded"), HasSubstr("no recipe.json")}));
  for (const TracedRange& range : found.layers[0].ranges) {
    EXPECT_EQ(range.policy, "");
    EXPECT_FALSE(range.seen || range.clipped || range.sqnr);
    EXPECT_GT(range.hi, 0);
  }
  EXPECT_LT(found.layers[0].clips.at(0).lo, found.layers[0].clips.at(0).hi);
  // llm/ has records of its own.
  EXPECT_NE(found.layers[4].ranges.at(0).policy, "");
}

TEST_F(TracedCobra, AClipThatIsNoLongerThePlansSaysSo) {
  make();
  Json config = Json::parse(read_text(folder_.path("low/config.json")), "");
  config["scute"]["ranges"]["vision.siglip"] = Json(Json::Array{Json(-0.5), Json(0.25)});
  write_file(folder_.path("low/config.json"), config.dump(2));
  const Trace found = trace();
  EXPECT_FALSE(found.layers[0].clips.at(0).edited);
  const TracedRange& clip = found.layers[1].clips.at(0);
  EXPECT_TRUE(clip.edited);
  EXPECT_EQ(clip.lo, -0.5);
  EXPECT_EQ(clip.hi, 0.25);
  EXPECT_THAT(clip.remark, HasSubstr("edited: the plan asks for"));
}

TEST_F(TracedCobra, MatricesOfAnotherFormatAreNamed) {
  CobraQuantizeOptions options;
  options.exclude = {"projector.2"};
  write_cobra(quantize_cobra(describe_cobra(kModelPath), Plan{}, &small_statistics(), options),
              folder_.path("low"), true);
  EXPECT_THAT(trace().notes, Contains("FP, not the format of its bucket: projector.2"));
}

TEST_F(TracedCobra, JsonAndCsvHaveALineForEveryScaleAndClip) {
  make();
  const Trace found = trace();
  std::istringstream lines(found.to_csv());
  size_t count = 0, expected = 0, commas = 0;
  for (std::string line; std::getline(lines, line); ++count) {
    size_t here = 0;
    bool quoted = false;
    for (const char c : line) {
      quoted ^= c == '"';
      here += c == ',' && !quoted;
    }
    if (count == 0) commas = here;
    EXPECT_EQ(here, commas) << line;
  }
  for (const TracedLayer& layer : found.layers)
    expected += layer.scales.size() + layer.clips.size();
  EXPECT_EQ(count, 1 + expected);
  const Json first = found.to_json().at("layers", "").as_array("")[0];
  EXPECT_EQ(first.at("layer", "").as_string(""), "vision.dino");
  EXPECT_EQ(first.at("clips", "").as_array("")[0].at("site", "").as_string(""), "vision.dino");
  EXPECT_EQ(found.to_json().at("parts", "").as_array("").size(), 4u);
}

TEST_F(TracedCobra, FloatModelsAreRefused) {
  EXPECT_THAT([] { trace_cobra(kModelPath); },
              ThrowsMessage<Error>(HasSubstr("a low-bit Cobra (scute quantize)")));
}

}  // namespace
}  // namespace scute::trace_test
