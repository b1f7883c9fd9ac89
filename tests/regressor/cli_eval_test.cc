// scute eval on regressors, from outside: stages, files, records and wrong usage.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <initializer_list>
#include <limits>

#include "scute/base/json.h"
#include "scute/io/file.h"
#include "scute/io/npy.h"
#include "scute/io/test_npy.h"
#include "tests/program.h"

namespace scute::regressor_cli_eval_test {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

const std::string kModels = "tests/golden/regressor/";
const std::string kFeatures = "tests/golden/regressor_features";

Ended evaluate(const std::string& model, const std::vector<std::string>& more,
               const std::string& features = kFeatures) {
  std::vector<std::string> words{"eval", model, "--feat-root", features, "--quiet"};
  words.insert(words.end(), more.begin(), more.end());
  return scute_program(words);
}

Json answer_of(const std::string& model, std::vector<std::string> more,
               const std::string& features = kFeatures) {
  more.push_back("--json");
  const Ended ended = evaluate(model, more, features);
  EXPECT_EQ(ended.code, 0) << ended.err;
  return Json::parse(ended.out, "answer");
}

std::vector<std::string> stage_names(const Json& answer) {
  std::vector<std::string> out;
  for (const Json& stage : answer.at("stages", "").as_array("")) {
    out.push_back(stage.at("name", "").as_string(""));
  }
  return out;
}

std::string predictions_of(const std::string& model, std::vector<std::string> more,
                           const TemporaryFolder& folder, const std::string& stage) {
  const std::string dir = folder.path("out");
  more.insert(more.end(), {"--out-dir", dir});
  const Ended ended = evaluate(model, more);
  EXPECT_EQ(ended.code, 0) << ended.err;
  return read_text(dir + "/" + stage + "/pred_vs_true.csv");
}

TEST(EvalRegressor, FloatsAloneAreOneStage) {
  const Json answer = answer_of(kModels + "slim.pt", {});
  EXPECT_THAT(stage_names(answer), testing::ElementsAre("baseline"));
  EXPECT_EQ(answer.at("windows", "").as_int(""), 23);
  EXPECT_TRUE(answer.at("diagnosis", "").is_null());
}

TEST(EvalRegressor, AnyOneQuantizationFlagStartsTheSecondStage) {
  const std::vector<std::vector<std::string>> flags{{"--q-proj"},
                                                    {"--q-head"},
                                                    {"--q-block-linear"},
                                                    {"--q-backbone-linear"},
                                                    {"--quantize-all"},
                                                    {"--quant-backend", "lsq"},
                                                    {"--quant-bits", "8"},
                                                    {"--quant-mode", "fixed88"},
                                                    {"--calib-method", "mse"},
                                                    {"--calib-headroom", "1.5"},
                                                    {"--calib-target", "train"},
                                                    {"--quant-calib-batches", "50"}};
  for (const auto& flag : flags) {
    EXPECT_THAT(stage_names(answer_of(kModels + "slim.pt", flag)),
                testing::ElementsAre("baseline", "quant"))
        << flag[0];
  }
}

TEST(EvalRegressor, ACalibratedCheckpointLoadsAgainWithTheSamePredictions) {
  const TemporaryFolder folder;
  const std::string saved = folder.path("calibrated.pt");
  std::vector<std::vector<std::string>> all;
  for (const char* backend : {"lsq", "extension", "integer"}) {
    for (const char* mode : {"dynamic", "fixed88", "per-layer"}) {
      all.push_back({"--quant-backend", backend, "--quant-mode", mode});
    }
    all.push_back({"--quant-backend", backend, "--quant-bits", "8"});
    all.push_back({"--quant-backend", backend, "--q-proj", "--q-block-linear"});
  }
  for (const char* model : {"slim_dwconv.pt", "slim_average.pt", "slim_gate_off.pt"}) {
    for (auto flags : all) {
      SCOPED_TRACE(std::string(model) + " " + flags[1] + " " + flags.back());
      flags.insert(flags.end(), {"--save-calib-ckpt", saved});
      const std::string first = predictions_of(kModels + model, flags, folder, "quant");
      EXPECT_EQ(first, predictions_of(saved, {}, folder, "quant"));
    }
  }
  // The baseline of a calibrated checkpoint is the float network that it came from.
  EXPECT_EQ(predictions_of(saved, {"--q-head"}, folder, "baseline"),
            predictions_of(kModels + "slim_gate_off.pt", {}, folder, "baseline"));
}

TEST(EvalRegressor, NeitherThreadsNorBatchesChangeAnything) {
  const auto with = [](const char* threads, const char* batch) {
    return answer_of(kModels + "slim.pt",
                     {"--quant-bits", "8", "--sensitivity", "--threads", threads, "--batch-size",
                      batch, "--quant-calib-batches", "0"})
        .dump();
  };
  EXPECT_EQ(with("1", "64"), with("3", "7"));
}

TEST(EvalRegressor, FilesAndFiguresOfAFolder) {
  const TemporaryFolder folder;
  const std::string dir = folder.path("out");
  const Ended ended =
      evaluate(kModels + "slim.pt", {"--quant-mode", "per-layer", "--out-dir", dir});
  ASSERT_EQ(ended.code, 0) << ended.err;
  for (const char* file : {"report.html", "evaluation.json", "cdf.svg", "cdf_zoom.svg",
                           "err_hist.svg", "pred_vs_true.svg", "error_heatmap.svg"}) {
    EXPECT_TRUE(fs::exists(fs::path(dir) / file)) << file;
  }
  for (const char* stage : {"baseline", "quant"}) {
    for (const char* file : {"val_preds.npz", "pred_vs_true.csv", "eval_summary.csv"}) {
      EXPECT_TRUE(fs::exists(fs::path(dir) / stage / file)) << stage << file;
    }
  }
  EXPECT_THAT(read_text(dir + "/report.html"),
              AllOf(HasSubstr("sat_ratio"), HasSubstr("Divergence"), HasSubstr("Qm.n per layer")));
}

TEST(EvalRegressor, ARecordIsListedAndShown) {
  const TemporaryFolder folder;
  const std::string log = folder.path("logs/log.jsonl");
  const Json answer = answer_of(kModels + "slim.pt", {"--quant-bits", "8", "--log", log});
  const Json record = Json::parse(read_text(log), log);
  const Json& positions = record.at("results", "").at("tasks", "").at("positions", "");
  const Json& quant = answer.at("stages", "").as_array("")[1];
  EXPECT_EQ(positions.at("mean", ""), quant.at("errors", "").at("mean", ""));
  EXPECT_EQ(positions.at("n", "").as_int(""), 23);
  EXPECT_TRUE(record.at("activation_stats", "").find("proj:input") != nullptr);
  const Ended list = scute_program({"log", "--log", log});
  EXPECT_THAT(list.out, AllOf(HasSubstr(" mm"), HasSubstr("integer, 8 bits")));
  const Ended show = scute_program({"log", "--log", log, "show", "1"});
  EXPECT_THAT(show.out, AllOf(HasSubstr("mean error"), HasSubstr("in floats"), HasSubstr("ratio")));
  EXPECT_THAT(show.out, AllOf(HasSubstr("calib windows:"), Not(HasSubstr("GPTQ")),
                              Not(HasSubstr("percentile alpha")), Not(HasSubstr("group heads"))));
  // The same experiment again has the same id, another one has another.
  answer_of(kModels + "slim.pt", {"--quant-bits", "8", "--log", log});
  answer_of(kModels + "slim.pt", {"--quant-bits", "16", "--log", log});
  const std::string lines = read_text(log);
  std::vector<std::string> ids;
  for (size_t at = 0; at < lines.size(); at = lines.find('\n', at) + 1) {
    const std::string line = lines.substr(at, lines.find('\n', at) - at);
    ids.push_back(Json::parse(line, log).at("id", "").as_string(""));
  }
  ASSERT_EQ(ids.size(), 3U);
  EXPECT_EQ(ids[0], ids[1]);
  EXPECT_NE(ids[0], ids[2]);
  const Ended compared = scute_program({"log", "--log", log, "--compare", "1,3"});
  // Window by window: the two share what makes a window hard.
  EXPECT_THAT(compared.out, AllOf(HasSubstr("mean error"), HasSubstr(" mm"), HasSubstr(" %  "),
                                  Not(HasSubstr("from standard errors alone"))));
}

TEST(EvalRegressor, ALogThatCannotBeWrittenLosesNothing) {
  const TemporaryFolder folder;
  write_file(folder.path("file"), "no folder");
  const Ended ended = evaluate(kModels + "slim.pt", {"--log", folder.path("file/log.jsonl")});
  EXPECT_EQ(ended.code, 3);
  EXPECT_THAT(ended.err, HasSubstr("not recorded"));
  EXPECT_THAT(ended.out, HasSubstr("baseline"));
  EXPECT_EQ(evaluate(kModels + "slim.pt",
                     {"--log", folder.path("file/log.jsonl"), "--log-failure", "ignore"})
                .code,
            0);
  const Ended without = evaluate(kModels + "slim.pt", {"--log-failure", "ignore"});
  EXPECT_EQ(without.code, 2);
  EXPECT_THAT(without.err, HasSubstr("--log"));
}

TEST(EvalRegressor, PredictionsThatARecordPointsToAreNotReplaced) {
  const TemporaryFolder folder;
  const std::string log = folder.path("log.jsonl"), dir = folder.path("out");
  const std::string file = dir + "/quant/pred_vs_true.csv";
  const std::vector<std::string> eight{"--quant-bits", "8", "--out-dir", dir};
  std::vector<std::string> sixteen{"--quant-bits", "16", "--out-dir", dir};
  ASSERT_EQ(evaluate(kModels + "slim.pt", eight).code, 0);
  ASSERT_EQ(evaluate(kModels + "slim.pt", sixteen).code, 0) << "no record points there yet";
  std::vector<std::string> recorded = eight;
  recorded.insert(recorded.end(), {"--log", log});
  ASSERT_EQ(evaluate(kModels + "slim.pt", recorded).code, 0);
  const std::string predictions = read_text(file);
  const Ended again = evaluate(kModels + "slim.pt", sixteen);  // of whichever log
  EXPECT_EQ(again.code, 1);
  EXPECT_THAT(again.err, AllOf(HasSubstr(dir), HasSubstr("record")));
  fs::remove(dir + "/record.json");  // as before there were marks
  sixteen.insert(sixteen.end(), {"--log", log});
  EXPECT_EQ(evaluate(kModels + "slim.pt", sixteen).code, 1);
  EXPECT_EQ(read_text(file), predictions);
}

/// Every kind of file in it, and before the work begins.
TEST(EvalRegressor, WhatWasEditedInTheFolderStaysWithoutForce) {
  const TemporaryFolder folder;
  const std::string dir = folder.path("out");
  std::vector<std::string> again{"--quant-bits", "8", "--out-dir", dir};
  ASSERT_EQ(evaluate(kModels + "slim.pt", again).code, 0);
  for (const char* name : {"quant/pred_vs_true.csv", "baseline/val_preds.npz", "cdf.svg",
                           "evaluation.json", "report.html"}) {
    const std::string file = dir + "/" + name, whole = read_text(file);
    std::ofstream(file) << "mine";
    const Ended kept = evaluate(kModels + "slim.pt", again);
    EXPECT_EQ(kept.code, 1) << name;
    EXPECT_THAT(kept.err, AllOf(HasSubstr(file), HasSubstr("--force"))) << name;
    EXPECT_EQ(read_text(file), "mine");
    std::vector<std::string> forced = again;
    forced.push_back("--force");
    ASSERT_EQ(evaluate(kModels + "slim.pt", forced).code, 0) << name;
    EXPECT_EQ(read_text(file), whole);
  }
  std::ofstream(dir + "/quant/notes.txt") << "mine";  // no file that eval writes
  EXPECT_EQ(evaluate(kModels + "slim.pt", again).code, 0);
  std::ofstream(dir + "/quant/eval_summary.csv") << "mine";
  EXPECT_EQ(evaluate(kModels + "slim.pt", {"--out-dir", dir}).code, 0) << "quant is not written";
  EXPECT_EQ(read_text(dir + "/quant/eval_summary.csv"), "mine");
}

TEST(EvalRegressor, WhatIsDoubtfulIsSaid) {
  EXPECT_THAT(evaluate(kModels + "slim.pt", {"--quant-mode", "fixed88", "--quant-bits", "8"}).err,
              HasSubstr("16 bits are used"));
  EXPECT_THAT(evaluate(kModels + "slim.pt", {"--quant-bits", "8", "--calib-target", "eval"}).err,
              HasSubstr("calibrated on the role that is scored"));
  EXPECT_THAT(
      evaluate(kModels + "slim.pt", {"--quant-bits", "8", "--quant-backend", "extension"}).err,
      HasSubstr("wrap round"));
  // Ranges of the 99th percentile cut a hundredth of the values of a layer, or nearly so.
  EXPECT_THAT(evaluate(kModels + "slim.pt", {"--calib-method", "p99", "--calib-headroom", "1"}).err,
              HasSubstr(":input saturate"));
}

/// A copy of the features in which some values of a sequence are others; its path.
std::string edited_features(const TemporaryFolder& folder, const char* sequence,
                            std::initializer_list<std::pair<size_t, double>> values) {
  const std::string to = folder.path("features");
  fs::copy(kFeatures, to, fs::copy_options::recursive);
  const std::string file = to + "/npy/" + sequence + ".feats.npy";
  const Tensor frames = read_npy(file).to_f32();
  Tensor edited = Tensor::of<float>(frames.shape(), frames.values<float>());
  for (const auto& [index, value] : values) {
    edited.mutable_values<float>()[index] = static_cast<float>(value);
  }
  write_npy(file, edited);
  return to;
}

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
constexpr double kInfinite = std::numeric_limits<double>::infinity();

TEST(EvalRegressor, FeaturesThatAreNoNumbersAreCounted) {
  const TemporaryFolder folder;
  const std::string features = edited_features(folder, "Grid2", {{5, kNan}, {80, kInfinite}});
  const Json answer = answer_of(kModels + "slim.pt", {}, features);
  EXPECT_EQ(answer.at("nonfinite", "").at("nan", "").as_int(""), 1);
  EXPECT_EQ(answer.at("nonfinite", "").at("inf", "").as_int(""), 1);
  EXPECT_THAT(evaluate(kModels + "slim.pt", {}, features).out,
              HasSubstr("1 NaN (taken as 0), 1 infinite"));
}

TEST(EvalRegressor, CollectTellsOfFeaturesThatAreNoNumbers) {
  const TemporaryFolder folder;
  const Ended ended = scute_program({"collect", kModels + "slim.pt", "--feat-root",
                                     edited_features(folder, "Grid1", {{80, kInfinite}}), "--out",
                                     folder.path("s.safetensors")});
  EXPECT_EQ(ended.code, 0) << ended.err;
  EXPECT_THAT(ended.out, HasSubstr("0 NaN (taken as 0), 1 infinite"));
}

TEST(EvalRegressor, WrongUsageIsExplained) {
  const auto expect = [](const Ended& ended, int code, const char* words) {
    EXPECT_EQ(ended.code, code) << ended.err;
    EXPECT_THAT(ended.err, HasSubstr(words));
  };
  const std::string slim = kModels + "slim.pt";
  expect(scute_program({"eval", slim}), 2, "--feat-root DIR");
  expect(evaluate(slim, {"--quant-bits", "9"}), 2, "8 or 16");
  expect(evaluate(slim, {"--quant-mode", "q8"}), 2, "fixed88 or per-layer");
  expect(evaluate(slim, {"--save-calib-ckpt", "x.pt"}), 2, "nothing is quantized");
  expect(evaluate(slim, {"--perplexity", "examples/text/heldout.txt"}), 2, "language model");
  expect(evaluate(slim, {"--compute=bf16"}), 2, "--compute: a flag of language models and Cobra");
  expect(evaluate("examples/tiny-mamba1", {}), 2, "--feat-root: a flag of regressors");
  expect(scute_program({"eval", "examples/tiny-mamba1", "--target", "test"}), 2,
         "--target: a flag of regressors; examples/tiny-mamba1 is a language model");
  expect(evaluate("nowhere.pt", {}), 1, "nowhere.pt");
  expect(scute_program({"generate", slim}), 1,
         "a regressor, for which there are collect, quantize");
  expect(evaluate(slim, {"--out-dir", "CMakeLists.txt/out"}), 1, "CMakeLists.txt/out");
  expect(evaluate(slim, {"--log", "tests"}), 1, "tests: expected a file that records");
  expect(evaluate(slim, {"--calib-headroom", "0.5"}), 2, "--calib-headroom");
  expect(evaluate(slim, {}, "tests/golden"), 1, "json");
  expect(evaluate(kModels + "slim_one_frame.pt", {}, "nowhere"), 1, "nowhere");
  expect(evaluate(kModels + "untrained_origin.pt", {}), 1, "corrupt checkpoint");
  expect(evaluate(kModels + "module.pt", {}), 1, "MambaRegressor");
  expect(evaluate(kModels + "slim_positions.pt", {}), 1, "7 features");
}

}  // namespace
}  // namespace scute::regressor_cli_eval_test
