// decide, quantize, eval, trace and bench on a regressor, from outside: each step a file, and the
// short form of eval beside them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "scute/base/json.h"
#include "scute/io/file.h"
#include "scute/recipe/statistics_io.h"
#include "scute/regressor/predict.h"
#include "scute/regressor/quantize.h"
#include "tests/program.h"

namespace scute::cli_steps_test {
namespace {

using testing::AllOf;
using testing::HasSubstr;

const std::string kModel = "tests/golden/regressor/slim.pt";
const std::string kFeatures = "tests/golden/regressor_features";

class RegressorSteps : public testing::Test {
 protected:
  RegressorSteps() {
    const RegressorCheckpoint checkpoint = read_regressor_checkpoint(kModel);
    const FeatureFolder train = read_feature_folder(
        kFeatures,
        {FeatureRole::train, checkpoint.config.features, checkpoint.config.window, true});
    StatisticsSet statistics;
    statistics.sites = measure_regressor(build_regressor(checkpoint), train, 0, Threads(1));
    statistics.meta["model_sha256"] = hash_regressor(checkpoint);
    write_statistics(path("s.safetensors"), statistics);
  }
  std::string path(const std::string& name) const { return folder_.path(name); }
  Ended run(std::vector<std::string> words) const { return scute_program(words); }
  Json json(std::vector<std::string> words) const {
    words.push_back("--json");
    const Ended ended = run(words);
    EXPECT_EQ(ended.code, 0) << ended.err;
    return Json::parse(ended.out, "answer");
  }
  void decide(std::vector<std::string> more) const {
    std::vector<std::string> words{"decide", path("s.safetensors"), "--out", path("p.json")};
    words.insert(words.end(), more.begin(), more.end());
    const Ended ended = run(words);
    ASSERT_EQ(ended.code, 0) << ended.err;
  }
  Ended quantize(std::vector<std::string> more = {}) const {
    std::vector<std::string> words{"quantize",     kModel,       "--plan",
                                   path("p.json"), "--stats",    path("s.safetensors"),
                                   "--out",        path("c.pt"), "--force"};
    words.insert(words.end(), more.begin(), more.end());
    return run(words);
  }
  Json plan() const { return Json::parse(read_text(path("p.json"), 1 << 20), "plan"); }

  TemporaryFolder folder_;
};

/// The errors of the last stage, in every digit.
std::string scored(const Json& answer) {
  return answer.at("stages", "").as_array("").back().at("errors", "").dump();
}

TEST_F(RegressorSteps, GiveTheFiguresOfTheShortForm) {
  struct Case {
    std::vector<std::string> decide, quantize, eval;
  };
  for (const Case& one : std::vector<Case>{
           {{"--bits", "8"}, {}, {"--quant-bits", "8"}},
           {{"--bits", "16", "--headroom", "1.5"},
            {},
            {"--quant-bits", "16", "--calib-headroom", "1.5"}},
           {{"--bits", "8", "--policy", "percentile:0.99"},
            {"--quant-mode", "per-layer"},
            {"--quant-bits", "8", "--calib-method", "p99", "--quant-mode", "per-layer"}},
           {{"--bits", "16", "--policy", "mse"},
            {"--quant-backend", "lsq"},
            {"--quant-bits", "16", "--calib-method", "mse", "--quant-backend", "lsq"}},
           {{"--bits", "8"},
            {"--quant-backend", "extension"},
            {"--quant-bits", "8", "--quant-backend", "extension"}}}) {
    decide(one.decide);
    const Ended made = quantize(one.quantize);
    ASSERT_EQ(made.code, 0) << made.err;
    EXPECT_THAT(made.out, HasSubstr("loaded again: the same bits"));
    std::vector<std::string> brief{
        "eval", kModel, "--feat-root", kFeatures, "--quiet", "--quant-calib-batches", "0"};
    brief.insert(brief.end(), one.eval.begin(), one.eval.end());
    const Json steps = json({"eval", path("c.pt"), "--feat-root", kFeatures, "--quiet"});
    EXPECT_EQ(scored(steps), scored(json(brief))) << one.eval.back();
  }
}

TEST_F(RegressorSteps, APlanEditedByHandIsObeyedAndTraced) {
  decide({"--bits", "8"});
  Json edited = plan();
  EXPECT_EQ(edited.at("meta", "").at("headroom", ""), Json(1.25));
  EXPECT_EQ(edited.at("meta", "").at("policy", ""), Json("minmax"));
  edited["proj:input"]["lo"] = -1.27;
  edited["proj:input"]["hi"] = 1.27;
  write_file(path("p.json"), edited.dump(1));
  ASSERT_EQ(quantize().code, 0);
  const auto proj = [&] {
    return json({"trace", path("c.pt"), "--only", "proj"}).at("scales", "").as_array("").front();
  };
  EXPECT_NEAR(proj().at("largest", "").as_double(""), 0.01, 1e-8);
  const Ended apart =
      run({"scales", path("c.pt"), "--set", "proj:input*=2", "--out", path("apart.pt")});
  ASSERT_EQ(apart.code, 0) << apart.err;
  EXPECT_NEAR(proj().at("largest", "").as_double(""), 0.01, 1e-8) << "the target is as it was";
  const Ended scales = run({"scales", path("c.pt"), "--set", "proj:input*=2"});
  ASSERT_EQ(scales.code, 0) << scales.err;
  EXPECT_NEAR(proj().at("largest", "").as_double(""), 0.02, 1e-8);
  EXPECT_EQ(read_text(path("apart.pt")), read_text(path("c.pt")));
  EXPECT_EQ(proj().at("policy", ""), Json("edited"));
  EXPECT_EQ(json({"trace", path("c.pt")}).at("edits", ""), Json(1));
  EXPECT_EQ(run({"scales", path("c.pt"), "--set", "nowhere=2"}).code, 1);
  EXPECT_THAT(run({"scales", kModel, "--set", "proj:input=2"}).err,
              HasSubstr("a quantized checkpoint with its plan inside"));
}

TEST_F(RegressorSteps, AnEditIsTakenBack) {
  const std::vector<std::vector<std::string>> kFormats{{}, {"--quant-backend", "lsq", "--q-proj"}};
  decide({"--bits", "8"});
  for (const std::vector<std::string>& format : kFormats) {
    ASSERT_EQ(quantize(format).code, 0);
    const std::string first = read_text(path("c.pt"));
    ASSERT_EQ(run({"scales", path("c.pt"), "--set", "proj:input*=0.37"}).code, 0);
    const std::string second = read_text(path("c.pt"));
    ASSERT_EQ(run({"scales", path("c.pt"), "--set", "proj:input=-1:3"}).code, 0);
    const Ended apart = run({"scales", path("c.pt"), "--undo", "--out", path("apart.pt")});
    ASSERT_EQ(apart.code, 0) << apart.err;
    EXPECT_THAT(apart.out, AllOf(HasSubstr("taken back"), HasSubstr("=-1:3")));
    EXPECT_EQ(read_text(path("apart.pt")), second);
    ASSERT_EQ(run({"scales", path("apart.pt"), "--undo"}).code, 0);
    EXPECT_EQ(read_text(path("apart.pt")), first);
    ASSERT_EQ(run({"scales", path("c.pt"), "--undo", "all"}).code, 0);
    EXPECT_EQ(read_text(path("c.pt")), first);
    EXPECT_THAT(run({"scales", path("c.pt"), "--undo"}).err, HasSubstr("found none"));
  }
}

/// The plan inside says one thing, the scales beside it another.
TEST_F(RegressorSteps, AnEditIsNotTakenBackWhereTheScalesAreOthers) {
  decide({"--bits", "8"});
  ASSERT_EQ(quantize({"--quant-backend", "lsq", "--q-proj"}).code, 0);
  ASSERT_EQ(run({"scales", path("c.pt"), "--set", "proj:input*=2"}).code, 0);
  std::string bytes = read_text(path("c.pt"));
  const RegressorCheckpoint checkpoint = read_regressor_checkpoint(path("c.pt"));
  CalibratedRegressor made =
      quantize_regressor(checkpoint, checkpoint.quantization, *checkpoint.plan, nullptr);
  for (float& scale : made.rounding.at("proj").input) scale *= 2;
  write_calibrated_regressor(path("c.pt"), checkpoint, made);
  EXPECT_NE(read_text(path("c.pt")), bytes);
  bytes = read_text(path("c.pt"));
  EXPECT_THAT(run({"scales", path("c.pt"), "--undo"}).err,
              AllOf(HasSubstr("proj"), HasSubstr("changed since by another tool")));
  EXPECT_EQ(read_text(path("c.pt")), bytes);
}

TEST_F(RegressorSteps, WhatDoesNotFitIsRefusedInOneLine) {
  decide({"--bits", "8"});
  const Json whole = plan();
  Json lacking = whole;
  auto keep = whole.as_object("");
  std::erase_if(keep, [](const auto& member) {
    return member.first == "proj:input" || member.first == "norm_f:input";
  });
  write_file(path("p.json"), Json(keep).dump(1));
  EXPECT_THAT(quantize().err, AllOf(HasSubstr("2 problems"), HasSubstr("missing proj:input"),
                                    HasSubstr("missing norm_f:input")));
  Json other = whole;
  other["meta"]["model_sha256"] = std::string(64, 'a');
  write_file(path("p.json"), other.dump(1));
  EXPECT_THAT(quantize().err, AllOf(HasSubstr("ranges of slim.pt"), HasSubstr("aaaaaaaaaaaa")));
  EXPECT_EQ(run({"quantize", kModel, "--out", path("c.pt")}).code, 2);
  EXPECT_EQ(run({"quantize", kModel, "--quant-mode", "fixed88", "--plan", path("p.json"), "--out",
                 path("c.pt")})
                .code,
            2);
  EXPECT_EQ(run({"quantize", kModel, "--quant-mode", "fixed88", "--out", path("q.pt")}).code, 0);
  EXPECT_EQ(run({"decide", path("s.safetensors"), "--bits", "4"}).code, 2);
}

TEST_F(RegressorSteps, BenchAndDoctorKnowARegressor) {
  const Json bench = json({"bench", kModel, "--frames", "20", "--repeat", "1", "--quiet"});
  EXPECT_EQ(bench.at("windows", "").as_int(""), 21);
  const Json& first = bench.at("networks", "").as_array("").front();
  EXPECT_GT(first.at("windows_per_second", "").as_double(""), 0);
  const Json doctor = json({"doctor", kModel, "--feat-root", kFeatures});
  std::string subjects;
  for (const Json& finding : doctor.at("findings", "").as_array("")) {
    subjects += finding.at("subject", "").as_string("") + " ";
  }
  EXPECT_THAT(subjects, AllOf(HasSubstr("model weights scales train eval overlap test overlap"),
                              HasSubstr("values time")));
  EXPECT_EQ(run({"doctor", kModel, "--feat-root", "tests/golden"}).code, 1);
}

}  // namespace
}  // namespace scute::cli_steps_test
