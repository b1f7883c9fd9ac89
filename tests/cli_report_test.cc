// report from outside: what it takes, what it says, what it refuses.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "program.h"
#include "scute/base/json.h"
#include "scute/io/file.h"

namespace scute {
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
                       "--threads", threads, "--out", own_.path(threads)});
    ASSERT_EQ(ended.code, 0) << ended.err;
  }
  EXPECT_TRUE(read_text(own_.path("1")) == read_text(own_.path("3")));
}

}  // namespace
}  // namespace scute
