#include "scute/cobra/overrides.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "scute/base/error.h"
#include "scute/cobra/test_cobra_quantize.h"

namespace scute::overrides_test {
namespace {

using namespace cobra_models;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::SizeIs;
using testing::ThrowsMessage;

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

}  // namespace
}  // namespace scute::overrides_test
