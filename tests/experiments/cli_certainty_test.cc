// What few items do not say: standard errors of one, of none or all hits, and values that are not
// finite, as eval, run and log show them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <limits>

#include "scute/base/json.h"
#include "scute/io/file.h"
#include "scute/io/safetensors.h"
#include "scute/tensor/tensor.h"
#include "tests/program.h"

namespace scute::cli_certainty_test {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

const std::string kModel = "examples/tiny-mamba1";
const std::string kText = "examples/text/heldout.txt";

Json eval_json(std::vector<std::string> words, int code = 0) {
  words.insert(words.begin(), "eval");
  words.emplace_back("--json");
  const Ended ended = scute_program(words);
  EXPECT_EQ(ended.code, code) << ended.err;
  EXPECT_THAT(ended.out,
              AllOf(Not(HasSubstr("NaN")), Not(HasSubstr("nan")), Not(HasSubstr("Infinity"))));
  return Json::parse(ended.out, "answer");
}

TEST(Certainty, OneWindowHasNoErrorNorHasItsRatio) {
  const std::vector<std::string> words{kModel,     "--perplexity", kText,
                                       "--window", "64",           "--max-windows",
                                       "1",        "--against",    "examples/tiny-mamba2"};
  const Json answer = eval_json(words);
  EXPECT_TRUE(answer.at("perplexity", "").at("standard_error", "").is_null());
  EXPECT_TRUE(answer.at("perplexity", "").at("standard_error_nll", "").is_null());
  EXPECT_TRUE(answer.at("against", "").at("standard_error_ratio", "").is_null());
  std::vector<std::string> plain{"eval"};
  plain.insert(plain.end(), words.begin(), words.end());
  EXPECT_THAT(scute_program(plain).out, AllOf(HasSubstr(" ± –"), Not(HasSubstr("± 0"))));
}

/// Passages of ids in falling order, which nobody would continue so.
std::string missed_passages(const TemporaryFolder& folder, int count) {
  std::string lines;
  for (int i = 0; i < count; ++i) {
    lines += "{\"ids\":[" + std::to_string(200 - i) + ",3," + std::to_string(100 + i) +
             ",7],\"target\":2}\n";
  }
  write_file(folder.path("missed.jsonl"), lines);
  return folder.path("missed.jsonl");
}

TEST(Certainty, NoHitHasAOneSidedBoundInAnswerLogAndRecord) {
  const TemporaryFolder folder;
  const std::string file = missed_passages(folder, 10), log = folder.path("log.jsonl");
  const Json answer = eval_json({kModel, "--last-word", file, "--log", log}).at("last_word", "");
  ASSERT_EQ(answer.at("hits", "").as_int(""), 0);
  EXPECT_TRUE(answer.at("standard_error", "").is_null());
  EXPECT_NEAR(answer.at("bound", "").as_double(""), 0.3, 1e-12);
  const Json record = Json::parse(read_text(log), log);
  const Json& metric = record.at("results", "").at("metrics", "").as_array("")[0];
  EXPECT_TRUE(metric.at("standard_error", "").is_null());
  EXPECT_NEAR(metric.at("bound", "").as_double(""), 0.3, 1e-12);
  EXPECT_THAT(scute_program({"log", "--log", log}).out, HasSubstr("0.00 (at most 30.00) %"));
  EXPECT_THAT(scute_program({"eval", kModel, "--last-word", file}).out,
              HasSubstr("0.00 % (at most 30.00 %, 95 % confidence)"));
  const Json one = eval_json({kModel, "--last-word", file, "--max-items", "1"});
  EXPECT_TRUE(one.at("last_word", "").at("standard_error", "").is_null());
  EXPECT_EQ(one.at("last_word", "").find("bound"), nullptr);
}

/// The bundled model with one weight that is not a number.
std::string broken_model(const TemporaryFolder& folder) {
  const std::string path = folder.path("broken");
  fs::copy(kModel, path, fs::copy_options::recursive);
  SafetensorsFile file = read_safetensors(kModel + "/model.safetensors");
  for (NamedTensor& item : file.tensors) {
    if (item.name != "backbone.layers.1.mixer.x_proj.weight") continue;
    std::vector<float> values = to_vector(item.tensor);
    values[5] = std::numeric_limits<float>::quiet_NaN();
    item.tensor = Tensor::of<float>(item.tensor.shape(), values).rounded_to(item.tensor.dtype());
  }
  fs::remove(path + "/model.safetensors");
  write_safetensors(path + "/model.safetensors", file.tensors, file.metadata);
  return path;
}

TEST(NotFinite, EvalNamesTheFirstSiteAndShowsNull) {
  const TemporaryFolder folder;
  const std::string model = broken_model(folder), log = folder.path("log.jsonl");
  const std::vector<std::string> words{
      model, "--perplexity", kText, "--window", "64", "--max-windows", "2", "--log", log};
  const Json answer = eval_json(words, 1);
  EXPECT_TRUE(answer.at("perplexity", "").at("value", "").is_null());
  std::vector<std::string> plain{"eval"};
  plain.insert(plain.end(), words.begin(), words.end());
  const Ended ended = scute_program(plain);
  EXPECT_EQ(ended.code, 1);
  EXPECT_THAT(ended.err, HasSubstr("NaN first at layer_1."));
  EXPECT_THAT(ended.err, HasSubstr("window 0"));
  EXPECT_THAT(read_text(log), AllOf(HasSubstr("\"not_finite\""), Not(HasSubstr("NaN,"))));
  EXPECT_THAT(scute_program({"log", "--log", log}).out, HasSubstr("not finite"));
  EXPECT_THAT(scute_program({"log", "--log", log, "show", "1"}).out,
              HasSubstr("NaN first at layer_1."));
  const Ended against = scute_program({"eval", kModel, "--perplexity", kText, "--window", "64",
                                       "--max-windows", "2", "--against", model});
  EXPECT_EQ(against.code, 1);
  EXPECT_THAT(against.err, HasSubstr("broken: expected finite scores"));
}

TEST(NotFinite, RunNamesTheFirstSiteOfScoresAndOfStatistics) {
  const TemporaryFolder folder;
  const std::string model = broken_model(folder), log = folder.path("log.jsonl");
  const std::vector<std::string> words{
      "run",       model,        "--data",        "examples/text/calibration.jsonl",
      "--samples", "2",          "--seqlen",      "32",
      "--tasks",   "perplexity", "--eval-data",   kText,
      "--window",  "64",         "--max-windows", "2",
      "--log",     log};
  const Ended measured = scute_program(words);
  EXPECT_EQ(measured.code, 1);
  EXPECT_THAT(measured.err, AllOf(HasSubstr("NaN"), HasSubstr("first at layer_1.")));
  std::vector<std::string> floats = words;
  floats.erase(floats.begin() + 2, floats.begin() + 8);  // nothing is measured
  floats.insert(floats.end(), {"--w-bits", "16", "--a-bits", "16"});
  const Ended scored = scute_program(floats);
  EXPECT_EQ(scored.code, 1);
  EXPECT_THAT(scored.err, HasSubstr("NaN first at layer_1."));
  EXPECT_THAT(scute_program({"log", "--log", log}).out, HasSubstr("not finite"));
}

}  // namespace
}  // namespace scute::cli_certainty_test
