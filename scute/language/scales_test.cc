#include "scute/language/scales.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "scute/base/error.h"
#include "scute/language/test_models.h"
#include "scute/language/trace.h"

namespace scute::scales_test {
namespace {

using fixtures::Folder;
using testing::ElementsAre;
using testing::HasSubstr;
using testing_models::Dialect;
using Operator = RangeEdit::Operator;

namespace fs = std::filesystem;

template <class F>
std::string problem_of(F&& f) {
  try {
    f();
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

TEST(RangeEdit, TheOperatorIsFoundFromTheRight) {
  const auto expect = [](const char* text, const char* glob, Operator op, double value) {
    const RangeEdit edit = RangeEdit::parse(text);
    EXPECT_EQ(edit.glob, glob) << text;
    EXPECT_EQ(edit.op, op) << text;
    EXPECT_EQ(edit.value, value) << text;
    const RangeEdit again = RangeEdit::parse(edit.text());
    EXPECT_EQ(again.glob, edit.glob);
    EXPECT_EQ(again.op, edit.op);
  };
  expect("layer_0.x_proj:input=3", "layer_0.x_proj:input", Operator::set, 3);
  expect("layer_*.x_proj:input*=1.5", "layer_*.x_proj:input", Operator::multiply, 1.5);
  expect("layer_0.*+=0.25", "layer_0.*", Operator::add, 0.25);
  expect("layer_0.**=2", "layer_0.*", Operator::multiply, 2);
  expect("layer_0.* =2", "layer_0.*", Operator::set, 2);
  expect("*+=-1e-2", "*", Operator::add, -0.01);
  expect("layer_0.x_proj:input=-0.5:3", "layer_0.x_proj:input", Operator::set, 3);
  EXPECT_EQ(RangeEdit::parse("layer_0.x_proj:input = -0.5:3").lowest, -0.5);
  for (const char* bad : {"", "x", "=3", "*=3", "x=", "x=3y", "x=nan", "x=inf", "x*=--1", "x=1:2",
                          "x=-2:-1", "x=-1:", "x=:1", "x*=-1:1", "x=-1:1:1"}) {
    EXPECT_THAT(problem_of([&] { RangeEdit::parse(bad); }), HasSubstr("--set")) << bad;
  }
}

Plan small_plan() {
  Plan plan;
  const auto add = [&](const char* site, double lo, double hi) {
    Decision decision;
    decision.lo = lo;
    decision.hi = hi;
    decision.before_lo = 2 * lo;
    decision.before_hi = 2 * hi;
    decision.policy = "mse";
    decision.because = "it is best";
    decision.sqnr = 30;
    decision.scale = static_cast<double>(make_grid(lo, hi, {}).scale);
    plan.sites[site] = decision;
  };
  add("layer_0.x_proj:input", -0.25, 4);
  add("layer_1.x_proj:input", -1, 1);
  add("layer_1.dt_proj:output", 0, 2);
  plan.meta["format"] = "scute-plan";
  return plan;
}

std::pair<double, double> range_after(const char* edit, const char* site) {
  Plan plan = small_plan();
  edit_plan(plan, {RangeEdit::parse(edit)});
  return {plan.sites.at(site).lo, plan.sites.at(site).hi};
}

TEST(EditPlan, OperatorsWorkOnTheRangeAndSidesOfZeroStayZero) {
  using Range = std::pair<double, double>;
  EXPECT_EQ(range_after("layer_0.*:input*=1.5", "layer_0.x_proj:input"), Range(-0.375, 6));
  EXPECT_EQ(range_after("layer_0.*:input=3", "layer_0.x_proj:input"), Range(-3, 3));
  EXPECT_EQ(range_after("layer_0.*:input+=0.5", "layer_0.x_proj:input"), Range(-0.75, 4.5));
  EXPECT_EQ(range_after("layer_1.dt_proj:output=3", "layer_1.dt_proj:output"), Range(0, 3));
  EXPECT_EQ(range_after("*:output+=1", "layer_1.dt_proj:output"), Range(0, 3));
  EXPECT_EQ(range_after("*:output*=2", "layer_1.x_proj:input"), Range(-1, 1)) << "not matched";
  EXPECT_EQ(range_after("layer_0.x_proj:input=-0.5:3", "layer_0.x_proj:input"), Range(-0.5, 3));
  EXPECT_EQ(range_after("layer_1.dt_proj:output=-1:1", "layer_1.dt_proj:output"), Range(-1, 1))
      << "a side of 0 begins where both are given";
}

TEST(EditPlan, AnEntrySaysWhatWasDone) {
  Plan plan = small_plan();
  const auto changes = edit_plan(plan, {RangeEdit::parse("layer_*.x_proj:input*=2"),
                                        RangeEdit::parse("layer_1.x_proj:input+=1")});
  ASSERT_EQ(changes.size(), 3u);
  EXPECT_EQ(changes[2].lo_before, -2) << "the second edit begins where the first ended";
  const Decision& decision = plan.sites.at("layer_1.x_proj:input");
  EXPECT_EQ(decision.hi, 3);
  EXPECT_EQ(decision.policy, "edited");
  EXPECT_THAT(decision.because, HasSubstr("+=1: -2 .. 2 became -3 .. 3"));
  EXPECT_THAT(decision.because, HasSubstr("mse: it is best"));
  EXPECT_EQ(decision.remark, "edited: coverage and sqnr_db are from before");
  EXPECT_EQ(decision.scale, static_cast<double>(make_grid(-3, 3, {}).scale));
  EXPECT_DOUBLE_EQ(decision.range_reduction, 1 - 6.0 / 4.0);
  EXPECT_EQ(plan.meta.at("edits", "").as_array("").size(), 2u);
  // A reader finds nothing edited by hand behind the file's back.
  const Plan again = Plan::from_json(plan.to_json(), "plan");
  EXPECT_EQ(again.sites.at("layer_1.x_proj:input").remark, decision.remark);
}

TEST(EditPlan, RefusesWhatMakesNoRangeAndChangesNothing) {
  for (const char* edit : {"layer_0.*:input*=0", "layer_0.*:input*=-1", "layer_0.*:input=0",
                           "layer_0.*:input=-2", "layer_0.*:input+=-0.25", "layer_0.*:input*=1e300",
                           "layer_0.*:input*=1e-38", "layer_0.*:input=0:0"}) {
    Plan plan = small_plan();
    const auto edits = {RangeEdit::parse("layer_1.*=5"), RangeEdit::parse(edit)};
    EXPECT_THAT(problem_of([&] { edit_plan(plan, edits); }), HasSubstr("layer_")) << edit;
    EXPECT_EQ(plan.to_json(), small_plan().to_json()) << edit;
  }
  Plan plan = small_plan();
  EXPECT_THAT(problem_of([&] { edit_plan(plan, {RangeEdit::parse("layer_0.xproj:input*=2")}); }),
              HasSubstr("did you mean layer_0.x_proj:input"));
}

TEST(EditPlan, FilesKeepComments) {
  const Folder folder;
  const std::string file = folder.path("plan.json");
  write_file(file, R"({"a:input": {"lo": -1, "hi": 2, "comment": "mine"}})");
  const PlanFileEdit edit = edit_plan_file(file, {RangeEdit::parse("a:input*=2")});
  const Json& entry = edit.json.at("a:input", "");
  EXPECT_EQ(entry.at("comment", "").as_string(""), "mine");
  EXPECT_EQ(entry.at("hi", "").as_double(""), 4);
}

class EditFolder : public testing::TestWithParam<MixerKind> {
 protected:
  void make(QuantizeOptions options = {}) {
    const auto model =
        testing_models::make_model(folder_.path("float"), GetParam(), Dialect::state_spaces);
    const auto statistics = testing_models::make_statistics(model, folder_.path("ids.npy"));
    testing_models::make_low_bit(model, statistics, options, low());
  }
  std::string low() const { return folder_.path("low"); }
  ProbeComparison edit(const char* text) {
    return write_folder_edit(edit_folder(low(), {RangeEdit::parse(text)}));
  }
  std::map<std::string, std::vector<float>> scales() const {
    std::map<std::string, std::vector<float>> out;
    const LowBitFiles files = read_low_bit_files(low());
    for (const StoredScale& scale : files.scales) {
      out[scale.tensor] = scale_values(files, scale.tensor);
    }
    return out;
  }
  bool mamba1() const { return GetParam() == MixerKind::mamba1; }
  /// Every byte of the folder, by file.
  std::map<std::string, std::string> bytes() const {
    std::map<std::string, std::string> out;
    for (const auto& entry : fs::directory_iterator(low())) {
      out[entry.path().filename().string()] = read_text(entry.path().string());
    }
    return out;
  }

  Folder folder_;
};
INSTANTIATE_TEST_SUITE_P(Both, EditFolder, testing::Values(MixerKind::mamba1, MixerKind::mamba2),
                         [](const auto& tested) {
                           return tested.param == MixerKind::mamba1 ? "Mamba1" : "Mamba2";
                         });

TEST_P(EditFolder, EveryTensorThatRepeatsTheScaleFollows) {
  make();
  const std::string mixer = "backbone.layers.1.mixer.";
  const std::vector<std::string> names =
      mamba1()
          ? std::vector<std::string>{mixer + "conv1d.output_scale", mixer + "x_proj.input_scale",
                                     mixer + "selective_scan.u_scale"}
          : std::vector<std::string>{mixer + "selective_scan.u_scale"};
  const auto before = scales();
  const ProbeComparison check =
      edit(mamba1() ? "layer_1.x_proj:input*=1.5" : "layer_1.x_conv_out:input*=1.5");
  EXPECT_EQ(check.tokens, 64);
  EXPECT_FALSE(check.identical);
  for (const auto& [name, values] : scales()) {
    const bool changed = std::ranges::find(names, name) != names.end();
    if (!changed) {
      EXPECT_EQ(values, before.at(name)) << name;
      continue;
    }
    // Rounded once from a range 1.5 times as large: 2^-23 of it at most.
    EXPECT_NEAR(values[0], 1.5f * before.at(name)[0], 1e-6f * values[0]) << name;
    EXPECT_EQ(values[0], scales().at(names[0])[0]) << name;
  }
}

TEST_P(EditFolder, ATensorsNameStandsForItsSite) {
  make();
  const std::string site = mamba1() ? "layer_1.x_proj:input" : "layer_1.x_conv_out:input";
  const std::string tensor = "backbone.layers.1.mixer.selective_scan.u_scale=2";
  const FolderEdit by_tensor = edit_folder(low(), {RangeEdit::parse(tensor)});
  const FolderEdit by_site = edit_folder(low(), {RangeEdit::parse(site + "=2")});
  ASSERT_EQ(by_tensor.ranges.size(), 1u);
  EXPECT_EQ(by_tensor.ranges[0].site, site);
  EXPECT_EQ(by_tensor.ranges[0].edit, by_site.ranges[0].edit) << "recorded by site";
  EXPECT_EQ(by_tensor.changes.size(), by_site.changes.size());
  EXPECT_EQ(by_tensor.documents, by_site.documents);
}

TEST_P(EditFolder, PlanAndRecipeSayWhatWasDone) {
  make();
  const Plan before = Plan::from_json(Json::parse(read_text(low() + "/plan.json"), ""), "");
  const char* site = "layer_0.z_act:input";
  edit("layer_0.z_act:input+=1");
  const Plan after = Plan::from_json(Json::parse(read_text(low() + "/plan.json"), ""), "");
  EXPECT_EQ(after.sites.size(), before.sites.size());
  EXPECT_EQ(after.sites.at(site).policy, "edited");
  EXPECT_EQ(after.sites.at(site).hi, before.sites.at(site).hi + 1);
  const Json recipe = Json::parse(read_text(low() + "/recipe.json"), "");
  EXPECT_NE(recipe.find("options"), nullptr) << "the rest of the recipe stays";
  const Json& edits = recipe.at("edits", "");
  ASSERT_EQ(edits.as_array("").size(), 1u);
  const Json& first = edits.as_array("")[0];
  EXPECT_EQ(first.at("what", "").as_string(""), "layer_0.z_act:input+=1");
  EXPECT_EQ(first.at("before", "").as_array("")[1].as_double(""), before.sites.at(site).hi);
  EXPECT_EQ(first.at("after", "").as_array("")[1].as_double(""), after.sites.at(site).hi);
  const Trace found = trace_scales(low());
  EXPECT_EQ(found.edits, 1);
  for (const TracedRange& range : found.layers[0].ranges) EXPECT_FALSE(range.edited) << range.site;
}

TEST_P(EditFolder, ChannelAndGroupScalesAreMultipliedByTheSameFactor) {
  QuantizeOptions options;
  options.group_heads = !mamba1();
  options.state_clip = 0.75;
  make(options);
  const auto before = scales();
  edit("layer_*.ssm_state_act:input*=2");
  int seen = 0;
  for (const auto& [name, values] : scales()) {
    if (name.find("ssm_state") == std::string::npos) continue;
    seen += values.size() > 1;
    for (size_t i = 0; i < values.size(); ++i) {
      EXPECT_NEAR(values[i], 2 * before.at(name)[i], 1e-6f * values[i]) << name;
    }
  }
  EXPECT_EQ(seen, 2);
  const Trace found = trace_scales(low());
  for (const TracedRange& range : found.layers[1].ranges) EXPECT_FALSE(range.edited) << range.site;
}

TEST_P(EditFolder, WorksWithoutAPlanAndARecipe) {
  make();
  fs::remove(low() + "/plan.json");
  fs::remove(low() + "/recipe.json");
  const std::string name = "backbone.layers.0.mixer.selective_scan.z_scale";
  edit("layer_0.z_act:input=12.7");
  EXPECT_NEAR(scales().at(name)[0], 0.1f, 1e-8f);
  EXPECT_FALSE(fs::exists(low() + "/plan.json"));
  const Json recipe = Json::parse(read_text(low() + "/recipe.json"), "");
  EXPECT_EQ(recipe.at("edits", "").as_array("").size(), 1u);
}

TEST_P(EditFolder, SharedScalesHaveOneSite) {
  QuantizeOptions options;
  options.shared_scales = mamba1();  // Mamba-2 shares none
  make(options);
  const FolderEdit worked = edit_folder(
      low(),
      {RangeEdit::parse(mamba1() ? "layer_0.x_proj:output*=2" : "layer_0.B_conv_out:input*=2")});
  std::vector<std::string> names;
  for (const TensorChange& change : worked.changes) names.push_back(change.tensor.substr(24));
  if (mamba1()) {
    EXPECT_THAT(names, ElementsAre("dt_proj.input_scale", "selective_scan.B_scale",
                                   "selective_scan.C_scale"));
  } else {
    EXPECT_THAT(names, ElementsAre("selective_scan.B_scale"));
  }
}

TEST_P(EditFolder, AScaleThatWasEditedElsewhereIsTakenAsItIs) {
  make();
  // The plan says something else than the tensors: what is stored counts.
  Json plan = Json::parse(read_text(low() + "/plan.json"), "");
  const double lo = plan.at("layer_0.z_act:input", "").at("lo", "").as_double("");
  const double hi = plan.at("layer_0.z_act:input", "").at("hi", "").as_double("");
  plan["layer_0.z_act:input"]["lo"] = 10 * lo;
  plan["layer_0.z_act:input"]["hi"] = 10 * hi;
  write_file(low() + "/plan.json", plan.dump());
  const FolderEdit worked = edit_folder(low(), {RangeEdit::parse("layer_0.z_act:input*=2")});
  EXPECT_NEAR(worked.changes.at(0).largest, 2 * worked.changes.at(0).largest_before, 1e-6);
  EXPECT_NEAR(worked.ranges.at(0).hi_before, std::max(-lo, hi), 1e-6 * std::max(-lo, hi));
}

TEST_P(EditFolder, OnAnErrorTheFolderIsAsBefore) {
  make();
  const auto before = bytes();
  for (const char* text : {"layer_0.z_act:input*=0", "layer_0.z_act:input=-1", "nothing*=2",
                           "layer_0.z_act:input*=1e-37", "*:input+=-1e9"}) {
    EXPECT_NE(problem_of([&] { edit(text); }), "") << text;
    EXPECT_EQ(bytes(), before) << text;
  }
  // The check after writing refuses, too: a recipe that is none is not overwritten.
  write_file(low() + "/recipe.json", "[]");
  EXPECT_THAT(problem_of([&] { edit("layer_0.z_act:input*=2"); }), HasSubstr("recipe.json"));
  EXPECT_FALSE(fs::exists(low() + ".writing"));
}

}  // namespace
}  // namespace scute::scales_test
