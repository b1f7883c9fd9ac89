// quantize for Cobra from outside: collect, decide, quantize as a user types them, and what is
// refused in one clear line.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>

#include "scute/base/json.h"
#include "scute/io/file.h"
#include "tests/program.h"

namespace scute::cobra_cli_quantize_test {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;
using Arguments = std::vector<std::string>;

constexpr const char* kModel = "tests/golden/cobra/model";
constexpr const char* kPictures = "tests/golden/cobra/pictures";

/// Statistics of the buckets' sites and of all sites, and what decide makes of the former, made
/// once.
class QuantizeCobra : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    shared_ = new TemporaryFolder;
    const Ended some = scute_program({"collect", "--model", kModel, "--images", kPictures, "--out",
                                      shared("stats.pt"), "--quiet"});
    ASSERT_EQ(some.code, 0) << some.err;
    const Ended all =
        scute_program({"collect", kModel, "--images", kPictures, "--sites",
                       "layer_*,lm_head:input*", "--out", shared("all.safetensors"), "--quiet"});
    ASSERT_EQ(all.code, 0) << all.err;
    const Ended decided =
        scute_program({"decide", "--stats", shared("stats.pt"), "--out", shared("overrides.json")});
    ASSERT_EQ(decided.code, 0) << decided.err;
  }
  static void TearDownTestSuite() {
    delete shared_;
    shared_ = nullptr;
  }
  static std::string shared(const std::string& name) { return shared_->path(name); }

  std::string path(const std::string& name) const { return folder_.path(name); }
  std::string write(const std::string& name, const std::string& text) const {
    std::ofstream(path(name)) << text;
    return path(name);
  }
  Ended quantize(const Arguments& more) const {
    Arguments arguments{"quantize", kModel, "--out", path("low"), "--quiet"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return scute_program(arguments);
  }
  Json quantize_json(Arguments more) const {
    more.emplace_back("--json");
    const Ended ended = quantize(more);
    EXPECT_EQ(ended.code, 0) << ended.err;
    return Json::parse(ended.out, "answer");
  }
  static std::string format(const Json& answer, const std::string& bucket) {
    return answer.at("formats", "").at(bucket, "").as_string("");
  }
  /// One line on standard error, nothing written.
  void expect_refused(const Arguments& more, const Arguments& parts, int code) const {
    const Ended ended = quantize(more);
    EXPECT_EQ(ended.code, code) << ended.out << ended.err;
    EXPECT_THAT(ended.err, StartsWith("scute: error: "));
    EXPECT_EQ(std::ranges::count(ended.err, '\n'), 1) << ended.err;
    for (const std::string& part : parts) EXPECT_THAT(ended.err, HasSubstr(part));
    EXPECT_FALSE(fs::exists(path("low")));
  }

 private:
  static inline TemporaryFolder* shared_ = nullptr;
  TemporaryFolder folder_;
};

TEST_F(QuantizeCobra, CollectDecideQuantize) {
  const Ended ended =
      scute_program({"quantize", "--model", kModel, "--overrides", shared("overrides.json"),
                     "--out", path("low"), "--quiet", "--wide"});
  ASSERT_EQ(ended.code, 0) << ended.err;
  EXPECT_EQ(ended.err, "");
  EXPECT_THAT(ended.out, HasSubstr("vision.dino 9 × W8A8; vision.siglip 9 × W8A8; "
                                   "projector 3 × W8A8; llm FP"));
  EXPECT_THAT(ended.out, HasSubstr("remark: llm stays in floats"));
  EXPECT_THAT(ended.out, HasSubstr("the same bits in "));
  EXPECT_THAT(ended.out, HasSubstr("wrote " + path("low")));
  EXPECT_THAT(ended.out, Not(HasSubstr("conflicting")));
  // What was written runs.
  const Ended sites = scute_program({"sites", path("low"), "find", "vision.siglip"});
  EXPECT_EQ(sites.code, 0) << sites.err;
}

TEST_F(QuantizeCobra, TheRemarksCommandGivesALowBitLanguageModel) {
  const Json answer = quantize_json(
      {"--overrides", shared("overrides.json"), "--stats", shared("all.safetensors")});
  EXPECT_EQ(format(answer, "llm"), "W8A8");
  EXPECT_TRUE(fs::exists(path("low/llm/plan.json")));
  EXPECT_GT(answer.at("checked_values", "").as_int(""), 0);
  EXPECT_LT(answer.at("bytes", "").as_int(""), answer.at("bytes_bf16", "").as_int(""));
}

TEST_F(QuantizeCobra, FormatsByBucketAndGlob) {
  const Json answer =
      quantize_json({"--overrides", shared("overrides.json"), "--w-bits", "4", "--bucket-format",
                     "vision.siglip=W8A8", "llm=W4A16", "--exclude", "projector.*"});
  EXPECT_EQ(format(answer, "vision.dino"), "W4A8");
  EXPECT_EQ(format(answer, "vision.siglip"), "W8A8");
  EXPECT_EQ(format(answer, "llm"), "W4A16");
  const Json& matrices = answer.at("matrices", "");
  EXPECT_EQ(matrices.at("vision.dino.blocks.0.mlp.fc1", "").as_string(""), "W4A8");
  EXPECT_EQ(matrices.at("projector.2", "").as_string(""), "FP");
}

TEST_F(QuantizeCobra, TheLastOfTwoFilesCountsAndTheConflictIsReported) {
  const std::string mine =
      write("mine.json", R"({"vision.dino": {"percentile": 99, "lo": -1, "hi": 1}})");
  for (const auto& [first, second] :
       {std::pair(shared("overrides.json"), mine), std::pair(mine, shared("overrides.json"))}) {
    const Json answer = quantize_json({"--overrides", first, "--plan", second, "--force"});
    const auto& range = answer.at("ranges", "").at("vision.dino", "").as_array("");
    EXPECT_EQ(range[1] == Json(1.0), second == mine);
    const std::string remarks = answer.at("remarks", "").dump();
    EXPECT_THAT(remarks, HasSubstr("conflicting ranges of vision.dino"));
    EXPECT_THAT(remarks, HasSubstr("the last one counts, that in " + second));
    const Json recipe = Json::parse(read_text(path("low/recipe.json")), "recipe");
    EXPECT_EQ(recipe.at("overrides", "").as_array("").size(), 2u);
    EXPECT_THAT(recipe.at("remarks", "").dump(), HasSubstr("conflicting"));
  }
}

TEST_F(QuantizeCobra, TheHelpOfThisFormHasItsOwnFlags) {
  const Ended own = scute_program({"quantize", kModel, "--help"});
  EXPECT_EQ(own.code, 0);
  EXPECT_THAT(own.out, HasSubstr("--bucket-format"));
  const Ended plain = scute_program({"quantize", "--help"});
  EXPECT_THAT(plain.out, HasSubstr("Cobra"));
  EXPECT_THAT(plain.out, Not(HasSubstr("--bucket-format")));
}

TEST_F(QuantizeCobra, WrongUsage) {
  const std::string plan = shared("overrides.json");
  expect_refused({}, {"--overrides", "--stats", "found neither"}, 2);
  expect_refused({"--overrides", plan, "--policy", "mse"}, {"--policy", "--stats"}, 2);
  expect_refused({"--overrides", plan, "--bucket-format", "vision.dino"}, {"BUCKET=FORMAT"}, 2);
  expect_refused({"--overrides", plan, "--bucket-format", "vision.dino=W2A8"}, {"W4A8", "W2A8"}, 2);
  expect_refused({"--overrides", plan, "--group", "0"}, {"--group"}, 2);
  expect_refused({"--overrides", plan, "--data", "x.jsonl"}, {"--data"}, 2);
}

TEST_F(QuantizeCobra, WorkThatFails) {
  const std::string plan = shared("overrides.json");
  expect_refused({"--overrides", path("none.json")}, {"none.json"}, 1);
  expect_refused({"--overrides", plan, "--bucket-format", "vision.clip=W8A8"},
                 {"vision.clip", "vision.siglip"}, 1);
  expect_refused({"--overrides", plan, "--include", "vision.dino.block.0.attn.qkv"},
                 {"--include", "did you mean vision.dino.blocks.0.attn.qkv"}, 1);
  expect_refused({"--overrides", plan, "--bucket-format", "llm=W8A8"}, {"llm", "layer_"}, 1);
  const std::string lost = write("lost.json", R"({"vision.dinov2": {"lo": -1, "hi": 1}})");
  expect_refused({"--overrides", plan, lost}, {"vision.dinov2", "did you mean vision.dino"}, 1);
  const std::string flat = write("flat.json", R"({"projector": {"lo": 0, "hi": 0}})");
  expect_refused({"--overrides", plan, flat},
                 {"projector", "constant slice", "too few samples", "more batches"}, 1);
}

TEST_F(QuantizeCobra, AFolderThatExistsIsKeptUnlessForced) {
  const std::string plan = shared("overrides.json");
  ASSERT_EQ(quantize({"--overrides", plan}).code, 0);
  ASSERT_EQ(quantize({"--overrides", plan}).code, 0) << "what nobody changed is replaced";
  std::ofstream(path("low/llm/config.json"), std::ios::app) << "\n";
  const Ended again = quantize({"--overrides", plan});
  EXPECT_EQ(again.code, 1);
  EXPECT_THAT(again.err, HasSubstr("--force"));
  EXPECT_EQ(quantize({"--overrides", plan, "--force"}).code, 0);
  const Ended low = scute_program(
      {"quantize", path("low"), "--overrides", plan, "--out", path("lower"), "--quiet"});
  EXPECT_EQ(low.code, 1);
  EXPECT_THAT(low.err, HasSubstr("a float model"));
  EXPECT_FALSE(fs::exists(path("lower")));
}

}  // namespace
}  // namespace scute::cobra_cli_quantize_test
