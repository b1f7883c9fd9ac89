#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "scute/base/error.h"
#include "scute/io/safetensors.h"
#include "scute/language/scales.h"
#include "scute/language/test_models.h"
#include "scute/language/trace.h"

namespace scute::scales_undo_test {
namespace {

using fixtures::Folder;
using testing::AllOf;
using testing::HasSubstr;
using testing::ThrowsMessage;

namespace fs = std::filesystem;

using FolderBytes = std::map<std::string, std::string>;

class UndoScales : public testing::TestWithParam<MixerKind> {
 protected:
  UndoScales() {
    const auto model = testing_models::make_model(folder_.path("float"), GetParam(),
                                                  testing_models::Dialect::state_spaces);
    const auto statistics = testing_models::make_statistics(model, folder_.path("ids.npy"));
    QuantizeOptions options;
    options.group_heads = !mamba1();  // scales of many elements
    testing_models::make_low_bit(model, statistics, options, low());
  }
  static bool mamba1() { return GetParam() == MixerKind::mamba1; }
  std::string low() const { return folder_.path("low"); }
  void edit(std::vector<std::string> texts) const {
    std::vector<RangeEdit> edits;
    for (const std::string& text : texts) edits.push_back(RangeEdit::parse(text));
    write_folder_edit(edit_folder(low(), edits));
  }
  void undo(int64_t count) const { write_folder_edit(undo_folder(low(), count)); }
  FolderBytes bytes(const std::string& folder) const {
    FolderBytes out;
    for (const auto& entry : fs::directory_iterator(folder)) {
      out[entry.path().filename().string()] = read_text(entry.path().string());
    }
    return out;
  }
  /// As another tool would.
  void set_scale(const std::string& name, float value) const {
    const std::string file = low() + "/model.safetensors";
    SafetensorsFile all = read_safetensors(file);
    for (NamedTensor& item : all.tensors) {
      if (item.name != name) continue;
      const std::vector<float> values(static_cast<size_t>(item.tensor.size()), value);
      item.tensor = Tensor::of<float>(item.tensor.shape(), values);
    }
    write_safetensors(file, all.tensors, all.metadata);
  }

  Folder folder_;
};
INSTANTIATE_TEST_SUITE_P(Both, UndoScales, testing::Values(MixerKind::mamba1, MixerKind::mamba2),
                         [](const auto& tested) {
                           return tested.param == MixerKind::mamba1 ? "Mamba1" : "Mamba2";
                         });

TEST_P(UndoScales, TheFolderIsAsBeforeInEveryByte) {
  const FolderBytes first = bytes(low());
  // Factors below 1 send several floats to one: only what was recorded leads back.
  edit({"layer_*.ssm_state_act:input*=0.37", "layer_0.z_act:input=6"});
  const FolderBytes second = bytes(low());
  const std::string conv = mamba1() ? "layer_*.x_proj:input" : "layer_*.x_conv_out:input";
  edit({conv + "*=0.7", "layer_0.z_act:input+=1", "layer_0.z_act:input*=2"});
  EXPECT_NE(bytes(low()), second);
  EXPECT_EQ(trace_scales(low()).edits, 7);

  FolderEdit apart = undo_folder(low(), 1);
  EXPECT_EQ(apart.ranges.front().site, "layer_0.z_act:input");
  EXPECT_EQ(apart.ranges.front().hi_before, 14) << "the latest first";
  EXPECT_EQ(apart.ranges.front().hi, 7);
  apart.out = folder_.path("apart");
  EXPECT_GT(write_folder_edit(apart).tokens, 0);
  EXPECT_EQ(bytes(apart.out), second);
  undo(1);
  EXPECT_EQ(bytes(low()), second);
  undo(1);
  EXPECT_EQ(bytes(low()), first);

  edit({"layer_*.ssm_state_act:input*=0.37"});
  edit({"layer_0.z_act:input*=3"});
  undo(kEveryEdit);
  EXPECT_EQ(bytes(low()), first);
}

TEST_P(UndoScales, WithoutPlanAndRecipeTheRecipeGoesAgain) {
  fs::remove(low() + "/plan.json");
  fs::remove(low() + "/recipe.json");
  const FolderBytes first = bytes(low());
  edit({"layer_0.z_act:input=12.7"});
  EXPECT_TRUE(fs::exists(low() + "/recipe.json"));
  undo(1);
  EXPECT_EQ(bytes(low()), first);
}

TEST_P(UndoScales, WhatAnotherToolChangedSinceIsRefused) {
  const std::string scale = "backbone.layers.0.mixer.selective_scan.z_scale";
  edit({"layer_0.z_act:input=6"});
  edit({"layer_1.z_act:input=5"});
  set_scale(scale, 0.5F);
  const FolderBytes before = bytes(low());
  EXPECT_THAT([&] { undo(2); },
              ThrowsMessage<Error>(AllOf(HasSubstr(scale), HasSubstr("changed since"))));
  EXPECT_EQ(bytes(low()), before);
  undo(1);  // which touched another
  EXPECT_THAT([&] { undo(1); }, ThrowsMessage<Error>(HasSubstr(scale)));
  set_scale(scale, 6.0F / 127.0F);
  Json plan = Json::parse(read_text(low() + "/plan.json"), "");
  plan["layer_0.z_act:input"]["hi"] = 7;
  write_file(low() + "/plan.json", plan.dump(2) + "\n");
  EXPECT_THAT([&] { undo(1); },
              ThrowsMessage<Error>(AllOf(HasSubstr("plan.json: /layer_0.z_act:input/hi"),
                                         HasSubstr("expected what the edit left there, 6"))));
}

TEST_P(UndoScales, AFileThatIsNotThereIsNotMade) {
  edit({"layer_0.z_act:input=6"});
  Json recipe = Json::parse(read_text(low() + "/recipe.json"), "");
  Json step = recipe.at("undo", "").as_array("").front();
  step["documents"]["another.json"] = Json::parse(R"({"": {"before": {}, "after": null}})", "");
  recipe["undo"] = Json::Array{step};
  write_file(low() + "/recipe.json", recipe.dump(2) + "\n");
  EXPECT_THAT([&] { undo(1); },
              ThrowsMessage<Error>(HasSubstr("another.json: expected the file that the edit")));
  EXPECT_FALSE(std::filesystem::exists(low() + "/another.json"));
}

TEST_P(UndoScales, WhatThereIsNotIsSaid) {
  const auto expect = [&](int64_t count, const char* hint) {
    EXPECT_THAT([&] { undo(count); },
                ThrowsMessage<Error>(AllOf(HasSubstr("recipe.json"), HasSubstr(hint))));
  };
  expect(1, "an edit that can be taken back, found none");
  expect(kEveryEdit, "an edit that can be taken back, found none");
  edit({"layer_0.z_act:input=6"});
  expect(2, "2 edits that can be taken back, found 1");
  // As an older scute left it.
  Json recipe = Json::parse(read_text(low() + "/recipe.json"), "");
  Json::Object rest = recipe.as_object("");
  std::erase_if(rest, [](const auto& member) { return member.first == "undo"; });
  write_file(low() + "/recipe.json", Json(rest).dump(2) + "\n");
  expect(1, "did not record what they replaced");
}

TEST(UndoPlan, IsAsBeforeAndKeepsWhatOthersWrote) {
  const Folder folder;
  const std::string file = folder.path("plan.json");
  for (
      const char* text :
      {R"({"a:input": {"lo": -1, "hi": 2, "comment": "mine"}, "b:input": {"lo": -1, "hi": 2}})",
       R"({"a:input": {"lo": -1, "hi": 2}, "meta": {"format": "scute-plan", "edits": ["x=2"]}})"}) {
    const Json first = Json::parse(text, "");
    const Json second = edit_plan_json(first, file, {RangeEdit::parse("a:input*=2")}).json;
    const Json third = edit_plan_json(second, file, {RangeEdit::parse("a:input*=0.3")}).json;
    EXPECT_EQ(undo_plan_json(third, file, 1).json.dump(), second.dump());
    EXPECT_EQ(undo_plan_json(third, file, kEveryEdit).json.dump(), first.dump());
    EXPECT_EQ(undo_plan_json(third, file, 2).changes.size(), 2u);
    Json other = third;
    other["a:input"]["hi"] = 9;
    EXPECT_THAT([&] { undo_plan_json(other, file, 1); },
                ThrowsMessage<Error>(HasSubstr("/a:input/hi")));
    EXPECT_THAT([&] { undo_plan_json(first, file, 1); },
                ThrowsMessage<Error>(HasSubstr("an edit that can be taken back")));
  }
}

}  // namespace
}  // namespace scute::scales_undo_test
