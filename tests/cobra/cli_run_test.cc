// scute run and sweep on a Cobra, from outside.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "scute/base/json.h"
#include "tests/program.h"

namespace scute::cobra_cli_run_test {
namespace {

using testing::AllOf;
using testing::HasSubstr;

const std::string kModel = "tests/golden/cobra/model";
const std::string kPictures = "tests/golden/cobra/pictures";  // five, and one broken

class CobraExperiments : public testing::Test {
 protected:
  Ended experiment(std::vector<std::string> words) const {
    words.insert(words.end(), {"--images", kPictures, "--log", log(), "--quiet"});
    return scute_program(words);
  }
  Json answer(std::vector<std::string> words) const {
    words.push_back("--json");
    const Ended ended = experiment(std::move(words));
    EXPECT_EQ(ended.code, 0) << ended.err;
    return Json::parse(ended.out, "answer");
  }
  std::string log() const { return folder_.path("logs/log.jsonl"); }
  std::string beside_log(const Json& record, const char* file) const {
    return folder_.path("logs/" + record.at("files", "").at(file, "").as_string(""));
  }

  TemporaryFolder folder_;
};

TEST_F(CobraExperiments, TheSecondRuleNeedsNoPassAndPicturesArePaired) {
  const Json first = answer({"run", kModel});
  const Json second = answer({"run", kModel, "--policy", "minmax"});
  EXPECT_FALSE(first.at("reused_statistics", "").as_bool(""));
  EXPECT_TRUE(second.at("reused_statistics", "").as_bool(""));
  const Json &a = first.at("record", ""), &b = second.at("record", "");
  EXPECT_NE(a.at("id", ""), b.at("id", ""));
  EXPECT_EQ(a.at("config", "").at("policy", "").as_string(""), "tail for buckets, else auto");
  EXPECT_EQ(a.at("files", "").at("statistics", ""), b.at("files", "").at("statistics", ""));
  for (const Json* record : {&a, &b}) {
    EXPECT_TRUE(std::filesystem::exists(beside_log(*record, "statistics")));
    EXPECT_TRUE(std::filesystem::exists(beside_log(*record, "items")));
  }
  // The tail's rules clip a bucket, min-max does not.
  const auto clipped = [](const Json& record) {
    const Json& site = record.at("activation_stats", "").at("projector", "");
    return site.at("clipped_ratio", "").as_double("");
  };
  EXPECT_GT(clipped(a), 0);
  EXPECT_EQ(clipped(b), 0);

  const Ended compared = scute_program({"log", "--log", log(), "--compare", "1,2", "--json"});
  ASSERT_EQ(compared.code, 0) << compared.err;
  const Json comparison = Json::parse(compared.out, "answer");
  const auto& results = comparison.at("results", "").as_array("");
  ASSERT_GE(results.size(), 8u);  // two of the next token, two of each of four stages
  for (const Json& one : results) {
    EXPECT_TRUE(one.at("paired", "").as_bool("")) << one.dump();
    EXPECT_EQ(one.at("n", "").as_int(""), 5) << one.dump();
  }
  // Scores of 1e-4 are shown in digits that tell something.
  EXPECT_THAT(scute_program({"log", "--log", log()}).out,
              testing::Not(testing::HasSubstr("0.000 ± 0.000")));
}

TEST_F(CobraExperiments, ScoresAreThoseOfQuantizeAndEval) {
  const Json ran = answer({"run", kModel, "--w-bits", "4", "--a-bits", "16"});
  const std::string low_bit = folder_.path("low-bit");
  ASSERT_EQ(
      scute_program({"quantize", kModel, "--w-bits", "4", "--a-bits", "16", "--out", low_bit}).code,
      0);
  const Ended evaluated = scute_program(
      {"eval", low_bit, "--images", kPictures, "--against", kModel, "--log", log(), "--quiet"});
  ASSERT_EQ(evaluated.code, 0) << evaluated.err;
  const Ended compared = scute_program({"log", "--log", log(), "--compare", "1,2", "--json"});
  ASSERT_EQ(compared.code, 0) << compared.err;
  const Json comparison = Json::parse(compared.out, "answer");
  ASSERT_GE(comparison.at("results", "").as_array("").size(), 8u);
  for (const Json& one : comparison.at("results", "").as_array("")) {
    EXPECT_TRUE(one.at("paired", "").as_bool("")) << one.dump();
    EXPECT_EQ(one.at("difference", "").as_double(""), 0) << one.dump();
  }
  EXPECT_TRUE(ran.at("record", "").at("files", "").at("statistics", "").is_null());
}

TEST_F(CobraExperiments, OneRunSaysWhatWasFoundAndWhere) {
  const Ended ended = experiment({"run", kModel, "--percentile-alpha", "0.999"});
  ASSERT_EQ(ended.code, 0) << ended.err;
  EXPECT_THAT(ended.out, AllOf(HasSubstr("divergence"), HasSubstr("recorded in")));
  EXPECT_THAT(scute_program({"log", "--log", log(), "show", "1"}).out,
              AllOf(HasSubstr("W8A8"), HasSubstr("percentile"), HasSubstr("0.999")));
  EXPECT_THAT(ended.err, HasSubstr("passed over " + kPictures + "/6_broken.png"));
}

TEST_F(CobraExperiments, ASweepMeasuresOnceRanksAndGoesOnBehindWhatIsThere) {
  const std::vector<std::string> words{"sweep", "--models", kModel, "--policies", "tail,minmax"};
  const Json first = answer(words);
  EXPECT_EQ(first.at("run", "").as_int(""), 2);
  EXPECT_EQ(first.at("passes", "").as_int(""), 1);
  const auto& rankings = first.at("rankings", "").as_array("");
  ASSERT_EQ(rankings.size(), 1u);
  const auto& ranked = rankings[0].at("experiments", "").as_array("");
  ASSERT_EQ(ranked.size(), 2u);
  // A percent of clipped values costs more than a grid to the extremes.
  EXPECT_EQ(ranked[0].at("setting", "").as_string(""), "W8A8 minmax");
  EXPECT_EQ(ranked[1].at("setting", "").as_string(""), "W8A8 tail");
  const auto& against_best = ranked[1].at("against_best", "").as_array("");
  ASSERT_GE(against_best.size(), 8u);
  EXPECT_EQ(against_best[0].at("metric", "").as_string(""), "divergence");
  EXPECT_GT(against_best[0].at("difference", "").as_double(""), 0);
  EXPECT_TRUE(against_best[0].at("paired", "").as_bool(""));

  const Json again = answer(words);
  EXPECT_EQ(again.at("run", "").as_int(""), 0);
  EXPECT_EQ(again.at("skipped", "").as_int(""), 2);
  EXPECT_EQ(again.at("passes", "").as_int(""), 0);
  EXPECT_EQ(again.at("rankings", ""), first.at("rankings", ""));

  // A run is what a sweep would run, and the other way round; one more rule is one more.
  const Json ran = answer({"run", kModel, "--policy", "auto"});
  EXPECT_TRUE(ran.at("reused_statistics", "").as_bool(""));
  const Json more = answer({"sweep", "--models", kModel, "--policies", "tail,minmax,auto,mse"});
  EXPECT_EQ(more.at("run", "").as_int(""), 1);
  EXPECT_EQ(more.at("skipped", "").as_int(""), 3);
  EXPECT_EQ(more.at("passes", "").as_int(""), 0);
}

TEST_F(CobraExperiments, ASweepCombinesSharesAndBits) {
  const Ended ended = experiment({"sweep", "--models", kModel, "--percentile-alphas", "0.999,1.0",
                                  "--w-bits", "8,4", "--wide"});
  ASSERT_EQ(ended.code, 0) << ended.err;
  EXPECT_THAT(ended.out,
              AllOf(HasSubstr("4 experiments: 4 run, 0 already in "), HasSubstr("1 pass over"),
                    HasSubstr("W8A8 percentile 0.999"), HasSubstr("W4A8 percentile 1.0"),
                    HasSubstr("divergence"), HasSubstr("best")));
}

TEST_F(CobraExperiments, WrongUsageSaysWhatWasExpected) {
  const auto refused = [](const std::vector<std::string>& words, const std::string& hint) {
    const Ended ended = scute_program(words);
    EXPECT_EQ(ended.code, 2) << ended.err;
    EXPECT_THAT(ended.err, HasSubstr(hint));
  };
  refused({"run", kModel}, "--images: expected a folder");
  refused({"run", kModel, "--images", kPictures, "--w-bits", "4", "--a-bits", "16", "--policy",
           "minmax"},
          "expected --a-bits 8, found 16");
  refused({"sweep", "--models", kModel, "--images", kPictures, "--w-bits", "16", "--a-bits", "16"},
          "expected 8 or 4, found 16");
  refused({"run", kModel, "--images", kPictures, "--group-size", "64"}, "expected --w-bits 4");
  refused({"run", kModel, "--images", kPictures, "--data", "x.jsonl"},
          "--data: a flag of language models");
}

}  // namespace
}  // namespace scute::cobra_cli_run_test
