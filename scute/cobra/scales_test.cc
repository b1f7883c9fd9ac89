#include "scute/cobra/scales.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <map>

#include "scute/base/error.h"
#include "scute/cobra/test_cobra_quantize.h"
#include "scute/cobra/trace.h"
#include "scute/cobra/writer.h"
#include "scute/io/file.h"
#include "scute/io/safetensors.h"
#include "scute/language/test_models.h"

namespace scute::scales_test {
namespace {

namespace fs = std::filesystem;
using namespace cobra_models;
using fixtures::Folder;
using testing::HasSubstr;
using testing::ThrowsMessage;
using testing::UnorderedElementsAre;

class EditedCobra : public testing::Test {
 protected:
  void make(const char* language = "W8A8") {
    CobraQuantizeOptions options;
    options.buckets["llm"] = LayerFormat::parse(language, "");
    write_cobra(quantize_cobra(describe_cobra(kModelPath), plan_of(small_statistics(), "auto"),
                               &small_statistics(), options),
                low(), true);
  }
  std::string low() const { return folder_.path("low"); }
  ProbeComparison edit(std::vector<std::string> texts) const {
    std::vector<RangeEdit> edits;
    for (const std::string& text : texts) edits.push_back(RangeEdit::parse(text));
    return write_cobra_edit(edit_cobra(low(), edits));
  }
  float scale(const std::string& file, const std::string& tensor) const {
    const SafetensorsFile stored = read_safetensors(low() + "/" + file);
    const Tensor* found = find(stored.tensors, tensor);
    return found == nullptr ? 0 : found->values<float>()[0];
  }
  Json json(const std::string& file) const {
    return Json::parse(read_text(low() + "/" + file), file);
  }
  std::map<std::string, std::string> bytes() const {
    std::map<std::string, std::string> out;
    for (const auto& entry : fs::recursive_directory_iterator(low())) {
      if (!entry.is_regular_file()) continue;
      out[fs::relative(entry.path(), low()).string()] = read_text(entry.path().string());
    }
    return out;
  }
  /// Files that are not what they were.
  std::vector<std::string> changed(const std::map<std::string, std::string>& before) const {
    std::vector<std::string> out;
    const auto after = bytes();
    EXPECT_EQ(after.size(), before.size());
    for (const auto& [name, text] : after) {
      if (!before.contains(name) || before.at(name) != text) out.push_back(name);
    }
    return out;
  }

  Folder folder_;
};

TEST_F(EditedCobra, AnInputsScaleFollowsItsRangeInItsOwnFile) {
  make();
  const auto before = bytes();
  const ProbeComparison check = edit({"vision.dino.blocks.0.attn.qkv:input=2.5"});
  EXPECT_GT(check.largest, 0);
  EXPECT_GT(check.tokens, 0);
  EXPECT_THAT(changed(before),
              UnorderedElementsAre("vision/dino/model.safetensors", "plan.json", "recipe.json"));
  EXPECT_EQ(scale("vision/dino/model.safetensors", "blocks.0.attn.qkv.input_scale"), 2.5F / 127.0F);
  const Json first = json("recipe.json").at("edits", "").as_array("")[0];
  EXPECT_EQ(first.at("site", "").as_string(""), "vision.dino.blocks.0.attn.qkv:input");
  EXPECT_EQ(first.at("tensors", "").as_array("")[0].as_string(""),
            "vision.dino.blocks.0.attn.qkv.input_scale");
  const Trace found = trace_cobra(low());
  EXPECT_EQ(found.edits, 1);
  for (const TracedRange& range : found.layers[0].ranges) EXPECT_FALSE(range.edited) << range.site;
  EXPECT_EQ(found.layers[0].ranges.at(1).policy, "edited");
}

TEST_F(EditedCobra, ABucketsClipIsEditedInTheConfig) {
  make();
  const auto before = bytes();
  const auto was = describe_cobra(low()).ranges.at("vision.siglip");
  EXPECT_GT(edit({"vision.siglip*=0.5"}).largest, 0);
  EXPECT_THAT(changed(before), UnorderedElementsAre("config.json", "plan.json", "recipe.json"));
  const auto is = describe_cobra(low()).ranges.at("vision.siglip");
  EXPECT_NEAR(is.first, 0.5F * was.first, 1e-6F);
  EXPECT_NEAR(is.second, 0.5F * was.second, 1e-6F);
  EXPECT_FALSE(trace_cobra(low()).layers[1].clips.at(0).edited);
}

TEST_F(EditedCobra, SitesOfTheLanguageModelAreEditedInItsFolder) {
  make();
  const auto before = bytes();
  edit({"layer_0.z_act:input=6", "projector.2:input*=2"});
  EXPECT_THAT(changed(before),
              UnorderedElementsAre("llm/model.safetensors", "llm/plan.json", "llm/recipe.json",
                                   "projector/model.safetensors", "plan.json", "recipe.json"));
  EXPECT_EQ(scale("llm/model.safetensors", "backbone.layers.0.mixer.selective_scan.z_scale"),
            6.0F / 127.0F);
  EXPECT_EQ(json("recipe.json").at("edits", "").as_array("").size(), 2u);
  EXPECT_EQ(json("llm/recipe.json").at("edits", "").as_array("").size(), 1u);
  for (const char* plan : {"plan.json", "llm/plan.json"}) {
    EXPECT_EQ(json(plan).at("layer_0.z_act:input", plan).at("hi", "").as_double(""), 6) << plan;
  }
  EXPECT_EQ(json("llm/plan.json").find("projector.2:input"), nullptr);
  for (const TracedLayer& layer : trace_cobra(low()).layers) {
    for (const TracedRange& range : layer.ranges) EXPECT_FALSE(range.edited) << range.site;
  }
}

TEST_F(EditedCobra, OneGlobReachesAllParts) {
  make("FP");
  const FolderEdit edit = edit_cobra(low(), {RangeEdit::parse("vision.*.attn.proj:input*=2")});
  EXPECT_EQ(edit.tensors.size(), 2u);
  EXPECT_TRUE(edit.tensors.contains("vision/dino") && edit.tensors.contains("vision/siglip"));
  EXPECT_THAT([&] { edit_cobra(low(), {RangeEdit::parse("layer_0.z_act:input*=2")}); },
              ThrowsMessage<Error>(HasSubstr("a site matching")));
}

TEST_F(EditedCobra, WorksWithoutRecords) {
  make();
  for (const char* name : {"plan.json", "statistics.safetensors", "recipe.json"}) {
    fs::remove(low() + "/" + name);
  }
  edit({"projector.0:input=12.7"});
  EXPECT_NEAR(scale("projector/model.safetensors", "projector.0.input_scale"), 0.1F, 1e-8F);
  EXPECT_FALSE(fs::exists(low() + "/plan.json"));
  EXPECT_EQ(json("recipe.json").at("edits", "").as_array("").size(), 1u);
}

TEST_F(EditedCobra, OnAnErrorTheFolderIsAsBefore) {
  make();
  const auto before = bytes();
  for (const char* text : {"vision.dino=0", "projector.0:input*=-1", "vision.dinos=2",
                           "vision.dino.blocks.0.attn.qkv:input*=1e-37"}) {
    EXPECT_THROW(edit({text}), Error) << text;
    EXPECT_TRUE(changed(before).empty()) << text;
  }
  EXPECT_THAT([&] { edit({"vision.dino.block.0.attn.qkv:input=2"}); },
              ThrowsMessage<Error>(HasSubstr("vision.dino.blocks.0.attn.qkv:input")));
}

TEST_F(EditedCobra, AnEditIsTakenBackInEveryPart) {
  make();
  const auto first = bytes();
  edit({"layer_0.z_act:input=6", "projector.2:input*=2", "vision.siglip*=0.5"});
  const auto second = bytes();
  edit({"vision.dino.blocks.0.attn.qkv:input*=0.37", "layer_0.z_act:input*=0.37"});
  EXPECT_EQ(undo_folder(low(), 1).tensors.size(), 2u);
  write_cobra_edit(undo_folder(low(), 1));
  EXPECT_THAT(changed(second), testing::IsEmpty());
  write_cobra_edit(undo_folder(low(), kEveryEdit));
  EXPECT_THAT(changed(first), testing::IsEmpty());
  EXPECT_THAT([&] { undo_folder(low(), 1); }, ThrowsMessage<Error>(HasSubstr("found none")));
}

TEST_F(EditedCobra, WhatWasEditedInsideSinceIsNotTakenBack) {
  make();
  const std::string inner = low() + "/llm";
  edit({"layer_0.z_act:input=6"});
  EXPECT_THAT([&] { undo_folder(inner, 1); }, ThrowsMessage<Error>(HasSubstr("folder above")));
  write_folder_edit(edit_folder(inner, {RangeEdit::parse("layer_1.z_act:input=5")}));
  EXPECT_THAT([&] { undo_folder(low(), 1); },
              ThrowsMessage<Error>(HasSubstr("llm/plan.json: /meta/edits")));
  write_folder_edit(undo_folder(inner, 1));
  write_cobra_edit(undo_folder(low(), 1));
  EXPECT_EQ(json("llm/recipe.json").at("edits", "").as_array("").size(), 0u);
}

}  // namespace
}  // namespace scute::scales_test
