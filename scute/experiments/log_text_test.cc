#include "scute/experiments/log_text.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace scute::log_text_test {
namespace {

LogEntry with_text(std::string_view text) {
  LogEntry out;
  out.text = text;
  return out;
}

TEST(LogText, FormulasBecomeText) {
  LogEntry entry;
  entry.number = 3;
  entry.config = Json::parse(R"({"a":-1,"b":"=1","id":"x","c":{"d":[1,2]},"e":null})", "c");
  EXPECT_EQ(log_csv({&entry}).substr(0, 42), "number,id,timestamp,command,a,b,config.id,");
  EXPECT_THAT(log_csv({&entry}), ::testing::HasSubstr("\r\n3,,,,-1,'=1,x,\"[1,2]\",,\r\n"));
  EXPECT_THAT(log_csv({}), ::testing::EndsWith("range_reduction_mean\r\n"));
}

TEST(LogText, MeanRangeReductionTakesFiniteNumbersOfThatKeyAlone) {
  EXPECT_EQ(mean_range_reduction(with_text("{}")), std::nullopt);
  EXPECT_EQ(mean_range_reduction(with_text(R"({"range_reduction":NaN})")), std::nullopt);
  EXPECT_EQ(mean_range_reduction(with_text(R"({"range_reduction")")), std::nullopt);
  EXPECT_EQ(mean_range_reduction(with_text(R"({"range_reduction": )")), std::nullopt);
  EXPECT_EQ(
      mean_range_reduction(with_text(
          R"({"a":{"range_reduction":0.5},"b":{"range_reduction" : 0.25,)"
          R"("range_reduction_pct":90,"note":"range_reduction"},"c":{"range_reduction":nan}})")),
      0.375);
}

TEST(LogText, CsvHasTheMetricsThatThereAreAndOneCountForThoseOfTheSameItems) {
  LogEntry one, two;
  one.results = Json::parse(R"({"accuracy":0.4,"perplexity":18.5})", "r");
  two.results =
      Json::parse(R"({"tasks":{"positions":{"mean":0.5,"mean_stderr":0.25,"n":8}}})", "r");
  EXPECT_EQ(log_csv({&one, &two}),
            "number,id,timestamp,command,tasks.positions.n,accuracy,accuracy_stderr,"
            "last_word_perplexity,last_word_perplexity_stderr,last_word_n,position_error,"
            "position_error_stderr,position_n,range_reduction_mean\r\n"
            "0,,,,,0.4,,18.5,,,,,,\r\n0,,,,8,,,,,,0.5,0.25,8,\r\n");
}

TEST(SettingsOf, HashesAndProtocolStandBesideTheConfiguration) {
  LogEntry entry;
  entry.config = Json::parse(R"({"w_bits": 8})", "");
  entry.hashes = Json::parse(R"({"experiment": "ee", "model": "0123456789abcdef",
      "data": [{"file": "a", "sha256": "aaaaaaaaaaaaaaaa"}, {"file": "b", "sha256": "bb"}]})",
                             "");
  entry.results = Json::parse(R"({"tasks": {"perplexity": {"perplexity": 3, "window": 512,
      "sha256": "cdcdcdcdcdcdcdcd", "n": 4}}})",
                              "");
  entry.reorder_summary = Json::parse(R"({"enabled": true, "avg_range_reduction": 12.5})", "");
  EXPECT_EQ(settings_of(entry).dump(),
            R"({"w_bits":8,"sha256":{"model":"0123456789ab","data":"aaaaaaaaaaaa bb"},)"
            R"("tasks":{"perplexity":{"sha256":"cdcdcdcdcdcd","n":4,"window":512}},)"
            R"("reorder_avg_range_reduction":12.5})");
  EXPECT_EQ(settings_of(LogEntry()).dump(), "{}");
}

TEST(SettingsOf, AConfigurationWithAKeyOfThatName) {
  LogEntry entry;
  entry.config = Json::parse(R"({"sha256": "mine", "tasks": 3})", "");
  EXPECT_EQ(settings_of(entry).dump(), R"({"sha256":"mine","tasks":3})");
  entry.hashes = Json::parse(R"({"model": "0123456789abcdef"})", "");
  EXPECT_EQ(settings_of(entry).dump(), R"({"sha256":{"model":"0123456789ab"},"tasks":3})");
}

}  // namespace
}  // namespace scute::log_text_test
