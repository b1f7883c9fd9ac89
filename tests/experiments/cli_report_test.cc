// report from outside: what it takes, what it says, what it refuses.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "scute/base/json.h"
#include "scute/io/file.h"
#include "tests/program.h"

namespace scute::cli_report_test {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::StartsWith;

constexpr const char* kRecord =
    R"({"timestamp":"2026-01-02 03:04:05","command":"scute run tiny","config":{"model":"tiny",)"
    R"("a_bits":8},"activation_stats":{},"results":{"accuracy":0.5},"id":"0123456789ab"})"
    "\n";

/// Statistics and a W8A8 model of the smaller bundled one, made once for all tests.
class ReportVerb : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = new TemporaryFolder;
    const Ended collected =
        scute_program({"collect", "examples/tiny-mamba1", "--data",
                       "examples/text/calibration.jsonl", "--samples", "4", "--seqlen", "70",
                       "--out", folder_->path("stats.safetensors"), "--quiet"});
    ASSERT_EQ(collected.code, 0) << collected.err;
    const Ended quantized = scute_program({"quantize", "examples/tiny-mamba1", "--stats",
                                           folder_->path("stats.safetensors"), "--out",
                                           folder_->path("low"), "--quiet"});
    ASSERT_EQ(quantized.code, 0) << quantized.err;
    write_file(folder_->path("log.jsonl"), std::string(kRecord) + kRecord + "{\"torn\": ");
  }
  static void TearDownTestSuite() {
    delete folder_;
    folder_ = nullptr;
  }
  static std::string made(const std::string& name) { return folder_->path(name); }

  Surroundings in_own_folder() const {
    Surroundings out;
    out.folder = own_.path();
    return out;
  }

  static TemporaryFolder* folder_;
  TemporaryFolder own_;
};
TemporaryFolder* ReportVerb::folder_ = nullptr;

TEST_F(ReportVerb, SaysWhatWentInAndHowLargeThePageIs) {
  const std::string page = own_.path("report.html");
  const Ended ended =
      scute_program({"report", "--log", made("log.jsonl"), "--stats", made("stats.safetensors"),
                     "--checkpoint", made("low"), "--out", page});
  ASSERT_EQ(ended.code, 0) << ended.err;
  EXPECT_THAT(ended.out, HasSubstr("stats.safetensors, 99 sites\n"));
  EXPECT_THAT(ended.out, HasSubstr("log.jsonl, 2\n"));
  EXPECT_THAT(ended.out, HasSubstr("remark: "));  // the torn line
  EXPECT_THAT(ended.out, HasSubstr("checkpoint   " + made("low")));
  EXPECT_THAT(ended.out, HasSubstr("wrote " + page));
  EXPECT_THAT(read_text(page), StartsWith("<!doctype html>"));
  EXPECT_THAT(own_.names(), ElementsAre("report.html"));  // no temporary file is left
}

TEST_F(ReportVerb, JsonHoldsTheSameFigures) {
  const std::string page = own_.path("report.html");
  const Ended ended = scute_program({"report", "--stats", made("stats.safetensors"), "--log",
                                     made("log.jsonl"), "--last", "1", "--out", page, "--json"});
  ASSERT_EQ(ended.code, 0) << ended.err;
  const Json json = Json::parse(ended.out, "report --json");
  EXPECT_EQ(json.at("bytes", "").as_int(""), file_size(page));
  EXPECT_EQ(json.at("experiments", "").as_int(""), 1);
  EXPECT_EQ(json.at("statistics", "").at("stats.safetensors", "").as_int(""), 99);
  EXPECT_TRUE(json.at("checkpoint", "").is_null());
}

/// How often `text` occurs in a file.
int64_t occurrences(const std::string& path, const std::string& text) {
  const std::string all = read_text(path);
  int64_t out = 0;
  for (size_t at = all.find(text); at != std::string::npos; at = all.find(text, at + 1)) ++out;
  return out;
}

TEST_F(ReportVerb, StatisticsOfPicturesBringTheirBucketsOntoThePage) {
  const std::string stats = own_.path("cobra.pt"), page = own_.path("report.html");
  const Ended collected = scute_program({"collect", "tests/golden/cobra/model", "--images",
                                         "tests/golden/cobra/pictures", "--out", stats, "--quiet"});
  ASSERT_EQ(collected.code, 0) << collected.err;
  const Ended ended = scute_program({"report", "--stats", stats, "--out", page});
  ASSERT_EQ(ended.code, 0) << ended.err;
  EXPECT_EQ(occurrences(page, R"("bucket":{"percentiles":[)"), 4);
  EXPECT_EQ(occurrences(page, R"("pictures":{"measured":5,"listed":6,"unused":0,"corrupt":1})"), 1);
  const Ended other =
      scute_program({"report", "--stats", made("stats.safetensors"), "--out", page});
  ASSERT_EQ(other.code, 0) << other.err;
  EXPECT_EQ(occurrences(page, R"("bucket":)"), 0);
}

TEST_F(ReportVerb, PlansAreDrawnOnStatistics) {
  const std::string plan = own_.path("plan.json"), page = own_.path("report.html");
  write_file(plan, R"({"layer_0.x_proj:input":{"percentile":99,"lo":-0.125,"hi":0.25}})");
  const Ended ended = scute_program(
      {"report", "--stats", made("stats.safetensors"), "--plan", plan, "--out", page, "--json"});
  ASSERT_EQ(ended.code, 0) << ended.err;
  EXPECT_EQ(Json::parse(ended.out, "").at("plans", "").dump(), R"({"plan.json":1})");
  EXPECT_EQ(occurrences(page, R"("plans":[[-0.125,0.25,)"), 1);
  write_file(plan, R"({"elsewhere":{"percentile":99,"lo":-1,"hi":1}})");
  const Ended other = scute_program({"report", "--stats", made("stats.safetensors"), "--plan", plan,
                                     "--out", own_.path("other.html")});
  EXPECT_EQ(other.code, 1);
  EXPECT_THAT(other.err, HasSubstr("plan.json: expected ranges of sites in stats.safetensors"));
  EXPECT_FALSE(fs::exists(own_.path("other.html")));
}

TEST_F(ReportVerb, TheDefaultLogIsUsedWhenNothingElseIsNamed) {
  fs::create_directories(own_.path("logs"));
  write_file(own_.path("logs/percentile_experiments.jsonl"), kRecord);
  const Ended ended = scute_program({"report", "--out", "report.html"}, in_own_folder());
  ASSERT_EQ(ended.code, 0) << ended.err;
  EXPECT_THAT(ended.out, HasSubstr("logs/percentile_experiments.jsonl, 1\n"));
  const Ended other = scute_program(
      {"report", "--stats", made("stats.safetensors"), "--out", "other.html", "--json"},
      in_own_folder());
  ASSERT_EQ(other.code, 0) << other.err;
  EXPECT_TRUE(Json::parse(other.out, "report --json").at("log", "").is_null());
}

TEST_F(ReportVerb, StatisticsBesideTheLogAreShownWithoutBeingNamed) {
  const std::string hash(64, 'a'), log = own_.path("logs/log.jsonl");
  fs::create_directories(own_.path("logs/statistics"));
  const std::string stored = own_.path("logs/statistics/" + hash + ".safetensors");
  fs::copy_file(made("stats.safetensors"), stored);
  const auto line = [](const std::string& file) {
    return R"({"config":{"model":"m"},"files":{"statistics":")" + file + "\"}}\n";
  };
  // Outside the log's folder, missing, and the same one twice: one is left.
  write_file(log, line("../../" + made("stats.safetensors")) + line("statistics/none.safetensors") +
                      line("statistics/" + hash + ".safetensors") +
                      line("statistics/" + hash + ".safetensors"));
  const std::vector<std::string> words{"report", "--log", log, "--out", own_.path("a.html"),
                                       "--json"};
  const Ended ended = scute_program(words);
  ASSERT_EQ(ended.code, 0) << ended.err;
  const Json statistics = Json::parse(ended.out, "").at("statistics", "");
  ASSERT_EQ(statistics.as_object("").size(), 1u);
  EXPECT_EQ(statistics.at("tiny-mamba1, aaaaaaaaaaaa", "").as_int(""), 99);

  write_file(stored, "damaged");
  const Ended without = scute_program(words);
  EXPECT_EQ(without.code, 0) << without.err;
  EXPECT_THAT(without.err, HasSubstr("left out"));
  EXPECT_TRUE(Json::parse(without.out, "").at("statistics", "").as_object("").empty());
}

TEST_F(ReportVerb, NothingToShowIsWrongUsage) {
  const Ended ended = scute_program({"report", "--out", "report.html"}, in_own_folder());
  EXPECT_EQ(ended.code, 2);
  EXPECT_THAT(ended.err, HasSubstr("expected --log, --stats or --checkpoint"));
  EXPECT_TRUE(own_.names().empty());
}

TEST_F(ReportVerb, AnEmptyLogOrAMissingFileIsFailedWorkAndLeavesNoPage) {
  write_file(own_.path("empty.jsonl"), "");
  const std::string page = own_.path("report.html");
  for (const std::string& log : {own_.path("empty.jsonl"), own_.path("missing.jsonl")}) {
    const Ended ended = scute_program({"report", "--log", log, "--out", page});
    EXPECT_EQ(ended.code, 1) << log;
    EXPECT_THAT(ended.err, HasSubstr("expected")) << log;
  }
  EXPECT_FALSE(fs::exists(page));
}

TEST_F(ReportVerb, ThePageDoesNotDependOnTheNumberOfThreads) {
  for (const char* threads : {"1", "3"}) {
    const Ended ended =
        scute_program({"report", "--stats", made("stats.safetensors"), "--log", made("log.jsonl"),
                       "--threads", threads, "--out", own_.path(threads) + ".html"});
    ASSERT_EQ(ended.code, 0) << ended.err;
  }
  EXPECT_TRUE(read_text(own_.path("1.html")) == read_text(own_.path("3.html")));
}

}  // namespace
}  // namespace scute::cli_report_test
