#include "scute/cobra/overrides.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "scute/base/error.h"
#include "scute/cobra/test_cobra_quantize.h"
#include "scute/language/test_models.h"

namespace scute {
namespace {

using namespace cobra_models;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::SizeIs;
using testing::ThrowsMessage;
using testing_models::Folder;

constexpr auto kVision = CobraModel::Parts::vision;

PlanFile file(const std::string& name, std::map<std::string, Decision> sites,
              const std::string& hash = "") {
  PlanFile out{name, {}};
  out.plan.sites = std::move(sites);
  if (!hash.empty()) out.plan.meta["model_sha256"] = hash;
  return out;
}

SiteList sites() { return CobraSites(describe_cobra(kModelPath).config).list(); }

TEST(CobraOverrides, TheLastOfSeveralFilesWinsAndIsReported) {
  const MergedPlans merged =
      merge_plans({file("a.json", {{"vision.dino", range(-3, 3)}, {"projector", range(-1, 1)}}),
                   file("b.json", {{"vision.dino", range(-2, 2.5)}})},
                  sites());
  EXPECT_EQ(merged.plan.sites.at("vision.dino").hi, 2.5);
  EXPECT_EQ(merged.plan.sites.at("projector").hi, 1);
  EXPECT_THAT(merged.remarks,
              ElementsAre("conflicting ranges of vision.dino: -3 .. 3 in a.json and -2 .. 2.5 in "
                          "b.json; the last one counts, that in b.json"));
}

TEST(CobraOverrides, EveryConflictIsOneSentenceAndAgreementNone) {
  const MergedPlans merged = merge_plans(
      {file("a.json", {{"vision.dino", range(-3, 3)}, {"llm", range(-1, 1)}}),
       file("b.json", {{"vision.dino", range(-2, 2)}, {"llm", range(-1, 1)}}),
       file("c.json", {{"vision.dino", range(-1, 1)}, {"embedding:output", range(-2, 2)}})},
      sites());
  EXPECT_THAT(merged.remarks, SizeIs(3));
  EXPECT_TRUE(remarked(merged.remarks, "-2 .. 2 in b.json", "-1 .. 1 in c.json"));
  // An alias is the same site.
  EXPECT_TRUE(remarked(merged.remarks, "ranges of llm", "c.json"));
  EXPECT_EQ(merged.plan.sites.at("llm").hi, 2);
  EXPECT_EQ(merged.plan.sites.size(), 2u);
}

TEST(CobraOverrides, FilesOfDifferentModelsAreRefused) {
  const std::string one(64, '1'), two(64, '2');
  EXPECT_THAT(
      [&] {
        merge_plans({file("a.json", {}, one), file("b.json", {}, two)}, sites());
      },
      ThrowsMessage<Error>(AllOf(HasSubstr("a.json"), HasSubstr("b.json"))));
  const MergedPlans merged = merge_plans({file("a.json", {}, one), file("b.json", {})}, sites());
  EXPECT_EQ(merged.plan.meta.at("model_sha256", "").as_string(""), one);
  EXPECT_TRUE(remarked(merged.remarks, "model not recorded in b.json"));
}

class ApplyOverrides : public testing::Test {
 protected:
  std::string write(const std::string& name, const std::string& text) const {
    write_file(folder.path(name), text);
    return folder.path(name);
  }
  std::vector<float> dino(const CobraModel& of) const {
    return tower_output(of, model, std::string(kPicturesPath) + "/1_wide.png", 0);
  }

  Folder folder;
  CobraDescription model = describe_cobra(kModelPath);
  CobraModel built = load_cobra(model, Execution{}, kVision);
};

TEST_F(ApplyOverrides, SetsTheRangesThatOtherToolsWrote) {
  const std::string path =
      write("o.json", R"({"vision.dino": {"percentile": 99.9, "lo": -0.25, "hi": 0.5}})");
  const AppliedOverrides applied = apply_overrides(built, path);
  EXPECT_THAT(applied.sites, ElementsAre("vision.dino"));
  EXPECT_THAT(applied.remarks, SizeIs(0));
  const auto values = dino(built);
  EXPECT_EQ(*std::ranges::min_element(values), -0.25F);
  EXPECT_EQ(*std::ranges::max_element(values), 0.5F);
}

TEST_F(ApplyOverrides, TheFileWinsOverARangeSetByHandAndSaysSo) {
  built.set_range("vision.dino", -0.125F, 0.125F);
  const std::string path = write("o.json", R"({"vision.dino": {"lo": -0.25, "hi": 0.5}})");
  const AppliedOverrides applied = apply_overrides(built, path);
  EXPECT_TRUE(remarked(applied.remarks, "-0.125 .. 0.125 set before", "o.json"));
  const auto values = dino(built);
  EXPECT_EQ(*std::ranges::max_element(values), 0.5F);
  EXPECT_THAT(apply_overrides(built, path).remarks, SizeIs(0)) << "the same again is no conflict";
}

TEST_F(ApplyOverrides, GivesRoundedInputsTheirScale) {
  const LowBitCobra low =
      quantize_cobra(model, plan_of(small_statistics(), "auto"), nullptr, CobraQuantizeOptions{});
  CobraModel wide = build_cobra(low, Execution{}, kVision);
  LowBitCobra changed = low;
  const std::string site = "vision.dino.blocks.0.attn.qkv:input";
  const float scale = 0.1F;  // ±12.7, beyond all values: nothing is clipped
  for (NamedTensor& item : changed.towers[0]) {
    if (item.name != "blocks.0.attn.qkv.input_scale") continue;
    item.tensor = Tensor::of<float>({1}, std::span(&scale, 1));
  }
  const std::string path = write("o.json", "{\"" + site + R"(": {"lo": -12.7, "hi": 12.7}})");
  apply_overrides(wide, path);
  EXPECT_EQ(dino(wide), dino(build_cobra(changed, Execution{}, kVision)));
  EXPECT_NE(dino(wide), dino(build_cobra(low, Execution{}, kVision)));
}

TEST_F(ApplyOverrides, NothingIsSetWhenASiteIsUnknownOrARangeHasNoWidth) {
  const std::string lost = write(
      "lost.json", R"({"projector": {"lo": -1, "hi": 1}, "vision.dinov2": {"lo": -1, "hi": 1}})");
  EXPECT_THAT([&] { apply_overrides(built, lost); },
              ThrowsMessage<Error>(AllOf(HasSubstr("lost.json"), HasSubstr("vision.dinov2"),
                                         HasSubstr("did you mean vision.dino"))));
  const std::string flat = write(
      "flat.json", R"({"projector": {"lo": 1, "hi": 1}, "vision.dino": {"lo": -1, "hi": 1}})");
  EXPECT_THAT([&] { apply_overrides(built, flat); },
              ThrowsMessage<Error>(AllOf(HasSubstr("flat.json: projector"), HasSubstr("1 .. 1"),
                                         HasSubstr("more batches"))));
  EXPECT_TRUE(built.ranges().empty());
  EXPECT_THROW(apply_overrides(built, folder.path("none.json")), Error);
}

}  // namespace
}  // namespace scute
