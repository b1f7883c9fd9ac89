#include "scute/experiments/log.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cmath>
#include <filesystem>
#include <fstream>

#include "scute/base/error.h"
#include "scute/experiments/line_scanner.h"
#include "scute/io/file.h"
#include "scute/io/testing.h"

namespace scute::log_test {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

/// A log in a folder of the test's own.
class Log : public ::testing::Test {
 protected:
  ExperimentLog read(const std::string& text) const {
    write_file(folder_ / "log.jsonl", text);
    return read_log(folder_ / "log.jsonl");
  }
  const fixtures::Folder folder_;
};

LogEntry entry_with(const std::string& config, const std::string& command = "") {
  LogEntry entry;
  entry.config = Json::parse(config, "config");
  entry.command = command;
  return entry;
}

TEST_F(Log, ReadsWhatAListingNeedsAndLeavesTheRestToRecord) {
  const std::string line =
      R"({"timestamp":"2026-01-02 03:04:05","command":"scute run M","config":{"model":"M"},)"
      R"("activation_stats":{"a \" } ]":[{"x":"{"}]},"results":{"accuracy":0.5},"id":"0123abcd"})";
  const ExperimentLog log = read(line + "\n");
  ASSERT_THAT(log.entries, SizeIs(1));
  EXPECT_THAT(log.remarks, IsEmpty());
  const LogEntry& entry = log.entries[0];
  EXPECT_EQ(entry.number, 1);
  EXPECT_EQ(entry.timestamp, "2026-01-02 03:04:05");
  EXPECT_EQ(entry.id, "0123abcd");
  EXPECT_EQ(entry.config.at("model", "").as_string(""), "M");
  EXPECT_EQ(entry.results.at("accuracy", "").as_double(""), 0.5);
  EXPECT_TRUE(entry.hashes.is_null());
  EXPECT_EQ(entry.text, line);
  EXPECT_EQ(entry.record(log.path).dump(), line);
}

TEST_F(Log, BrokenLinesAreSkippedWithTheirNumberAndReasonAndKeepNoPlace) {
  const ExperimentLog log = read(
      "{\"id\":\"a\"}\n"
      "{\"id\":\"b\",\"config\":{\"model\":\"torn\n"
      "\n"
      "[1]\n"
      "{\"id\":\"c\"} x\r\n"
      "{\"id\":\"d\",\"results\":{\"accuracy\":}}\n"
      "{\"id\":\"e\",\"id\":\"f\"}\n"
      "{\"a\":[}]}\n"
      "{\"id\":\"g\"}\r\n"
      "{\"id\":\"h\",\"x\":{\"y\":1}");
  ASSERT_THAT(log.entries, SizeIs(2));
  EXPECT_EQ(log.entries[1].id, "g");
  EXPECT_EQ(log.entries[1].number, 2);
  EXPECT_THAT(
      log.remarks,
      ElementsAre(::testing::AllOf(HasSubstr("line 2:"), HasSubstr("torn"), HasSubstr("skipped")),
                  HasSubstr("line 4:"), HasSubstr("line 5: expected one complete JSON object, "),
                  ::testing::AllOf(HasSubstr("line 6:"), HasSubstr("\"results\"")),
                  ::testing::AllOf(HasSubstr("line 7:"), HasSubstr("a key twice")),
                  HasSubstr("line 8:"),
                  ::testing::AllOf(HasSubstr("line 10:"), HasSubstr("torn"))));
}

TEST_F(Log, EveryPrefixOfALineIsTornButNothingElseIsLost) {
  const std::string line =
      R"({"id":"a","config":{"model":"\\\"é","x":[1,{"y":null}]},"n":-1.5e3,"t":true})";
  for (size_t cut = 1; cut < line.size(); ++cut) {
    const ExperimentLog log = read(line + "\n" + line.substr(0, cut) + "\n" + line + "\n");
    ASSERT_THAT(log.entries, SizeIs(2)) << cut;
    ASSERT_THAT(log.remarks, ElementsAre(HasSubstr("line 2"))) << cut;
    EXPECT_EQ(log.entries[1].number, 2);
  }
}

TEST_F(Log, DeepNestingIsRefusedNotFollowed) {
  const ExperimentLog log = read("{\"x\":" + std::string(100'000, '[') + "\n{\"id\":\"a\"}\n");
  EXPECT_THAT(log.remarks, ElementsAre(HasSubstr("deeper than 128")));
  EXPECT_THAT(log.entries, SizeIs(1));
}

TEST_F(Log, LogsOfOtherToolsRead) {
  const ExperimentLog log = read(
      R"({"timestamp": "2025-11-24 08:56:07", "command": "main.py m", "config": {"model": "m", )"
      R"("percentile_alpha": null}, "activation_stats": {"layer_0.x_proj:input": )"
      R"({"before_percentile": {"min": 0.0, "max": NaN}}}, "results": {}, )"
      R"("activation_data_file": null})"
      "\n"
      R"({"id": 5, "timestamp": [], "config": "x", "results": 3})"
      "\n{}\n");
  EXPECT_THAT(log.remarks, IsEmpty());
  ASSERT_THAT(log.entries, SizeIs(3));
  EXPECT_EQ(log.entries[0].id, "");
  EXPECT_EQ(log.entries[1].id, "");
  EXPECT_EQ(log.entries[1].timestamp, "");
  EXPECT_TRUE(matches(log.entries[0], "percentile_alpha: null"));
  EXPECT_FALSE(matches(log.entries[1], "percentile_alpha: null"));
  EXPECT_TRUE(std::isnan(log.entries[0]
                             .record("")
                             .at("activation_stats", "")
                             .at("layer_0.x_proj:input", "")
                             .at("before_percentile", "")
                             .at("max", "")
                             .as_double("")));
}

TEST_F(Log, ARecordWhoseSkippedPartIsNoJsonSaysWhere) {
  const ExperimentLog log = read("{\"activation_stats\":{\"a\" 1}}\n");
  ASSERT_THAT(log.entries, SizeIs(1));
  try {
    log.entries[0].record("some.jsonl");
    FAIL();
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("some.jsonl, experiment 1"));
  }
}

TEST_F(Log, FindsByNumberFromTheEndAndById) {
  const ExperimentLog log = read(
      "{\"id\":\"aaaa11112222\"}\n{\"id\":\"aaaa33334444\"}\n{\"id\":\"123456789012\"}\n"
      "{\"id\":\"aaaa11112222\"}\n");
  EXPECT_EQ(log.find("2").number, 2);
  EXPECT_EQ(log.find("-1").number, 4);
  EXPECT_EQ(log.find("-4").number, 1);
  EXPECT_EQ(log.find("aaaa1").number, 4);  // of one experiment run twice the newer
  EXPECT_EQ(log.find("AAAA3").number, 2);
  EXPECT_EQ(log.find("1234").number, 3);
  for (const char* none : {"0", "5", "-5", "aaa", "bbbb", "", "1x", "aaaa1111222233"}) {
    EXPECT_THROW(log.find(none), Error) << none;
  }
  try {
    log.find("aaaa");
    FAIL();
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("aaaa11112222, aaaa33334444"));
  }
}

TEST_F(Log, AppendMakesTheFolderAndEndsATornLine) {
  const std::string folder = folder_ / "made", path = folder + "/deep/log.jsonl";
  Json record;
  record["command"] = "line\nbreak \x01";
  append_record(path, record);
  std::ofstream(path, std::ios::app) << "{\"torn\":";
  append_record(path, record);
  const ExperimentLog log = read_log(path);
  EXPECT_THAT(log.entries, SizeIs(2));
  EXPECT_THAT(log.remarks, SizeIs(1));
  EXPECT_EQ(log.entries[1].command, "line\nbreak \x01");
  EXPECT_EQ(log.folder(), folder + "/deep");
  std::filesystem::remove_all(folder);
  EXPECT_THROW(read_log(path), Error);
}

TEST_F(Log, APipeIsRefusedInsteadOfWaitedFor) {
  const std::string path = folder_ / "log.jsonl";
  ASSERT_EQ(::mkfifo(path.c_str(), 0600), 0);
  EXPECT_THROW(read_log(path), Error);
  EXPECT_THROW(append_record(path, Json::object()), Error);
}

TEST_F(Log, KeyTermsMatchFieldsAtAnyDepthByValue) {
  const LogEntry entry = entry_with(
      R"({"model":"models/Mamba-370m","percentile_alpha":1.0,"group_heads":true,"w_bits":8,)"
      R"("policy":"quamba","gptq":null,"more":[{"inner":{"damp":0.01}}]})",
      "scute run X --policy percentile:0.999");
  for (const char* yes :
       {"percentile_alpha: 1.0", "percentile_alpha: 1", "percentile-alpha: 1e0",
        "group_heads: true", "group_heads: True", "gptq: null", "gptq: None", "w_bits: 8.0",
        "policy: quamba", "policy: \"quamba\"", "damp: 0.01", "  w_bits:8 ", "mamba-370M",
        "SCUTE RUN", "percentile:0.999", "", "model: models/mamba-370m"}) {
    EXPECT_TRUE(matches(entry, yes)) << yes;
  }
  for (const char* no : {"percentile_alpha: 0.9995", "percentile_alpha: null", "group_heads: false",
                         "group_heads: 1", "gptq: 0", "w_bits: 4", "policy: quam", "bits: 8",
                         "mamba-130m", "model: mamba-370m", "policy: percentile"}) {
    EXPECT_FALSE(matches(entry, no)) << no;
  }
}

TEST(LineScanner, PassesOverTheMarkThatEditorsPutBeforeAFile) {
  std::string problem;
  const auto members = scan_line("\xEF\xBB\xBF{\"a\": 1}", problem);
  EXPECT_EQ(problem, "");
  ASSERT_EQ(members.size(), 1U);
  EXPECT_EQ(members[0].value, "1");
  EXPECT_TRUE(scan_line("{\"a\": 1}\xEF\xBB\xBF", problem).empty());
}

TEST(LineScanner, GivesValuesAsWritten) {
  std::string problem;
  const auto members = scan_line(R"( { "a" : [1, "]"] , "b\"c":-2e5,"d":"" } )", problem);
  EXPECT_EQ(problem, "");
  ASSERT_THAT(members, SizeIs(3));
  EXPECT_EQ(members[0].key, "a");
  EXPECT_EQ(members[0].value, "[1, \"]\"]");
  EXPECT_EQ(members[1].key, "b\\\"c");
  EXPECT_EQ(members[1].value, "-2e5");
  EXPECT_EQ(members[2].value, "\"\"");
  for (const char* bad : {"", "{", "{,}", "{\"a\"}", "{\"a\":}", "{\"a\":1,}", "{}{}", "{\"a\":[}",
                          "{\"a\":1 \"b\":2}", "{\"a", "{\"a\\\"", "nul", "{a:1}", "{\"a\":]}"}) {
    scan_line(bad, problem);
    EXPECT_NE(problem, "") << bad;
  }
}

}  // namespace
}  // namespace scute::log_test
