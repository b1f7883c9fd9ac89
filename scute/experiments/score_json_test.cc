#include "scute/experiments/score_json.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "scute/base/error.h"
#include "scute/evaluate/metrics.h"
#include "scute/io/testing.h"
#include "scute/language/scoring.h"

namespace scute::score_json_test {
namespace {

using ::testing::HasSubstr;
using ::testing::SizeIs;
using ::testing::ThrowsMessage;

Scores some_scores() {
  Scores out;
  out.perplexity = summarize(std::vector<WindowScore>{{0, 7, 21.5}, {8, 7, 19.25}, {16, 7, 0.1}});
  out.last_word = summarize(std::vector<LastWordScore>{{true, 0.25}, {false, 11.0 / 3}});
  return out;
}

Score named(const Scores& scores) {
  ScoreOptions options;
  options.perplexity = "t.txt";
  options.last_word = "w.jsonl";
  return named_score(scores, options, {"aa", "bb", "cc"});
}

/// As a record holds it, read back.
Score recorded(const Score& score) {
  Json results;
  results["metrics"] = metrics_json(score);
  return read_score(Json::parse(results.dump(), "results"), {});
}

void expect_same_facts(const MetricScore& a, const MetricScore& b) {
  ASSERT_EQ(a.protocol.size(), b.protocol.size());
  for (size_t i = 0; i < a.protocol.size(); ++i) {
    EXPECT_EQ(a.protocol[i].key, b.protocol[i].key);
    EXPECT_EQ(a.protocol[i].value, b.protocol[i].value);
    EXPECT_EQ(a.protocol[i].because, b.protocol[i].because);
  }
}

TEST(ScoreJson, ARecordKeepsEverythingButTheItems) {
  const Score score = named(some_scores()), read = recorded(score);
  ASSERT_THAT(read, SizeIs(3));
  for (size_t i = 0; i < 3; ++i) {
    const Metric &a = score[i].metric, &b = read[i].metric;
    EXPECT_EQ(a.name, b.name);
    EXPECT_EQ(a.unit, b.unit);
    EXPECT_EQ(a.direction, b.direction);
    EXPECT_EQ(a.form, b.form);
    for (const auto word :
         {&MetricWords::label, &MetricWords::brief, &MetricWords::heading, &MetricWords::mark,
          &MetricWords::about, &MetricWords::items, &MetricWords::group}) {
      EXPECT_EQ(a.words.*word, b.words.*word);
    }
    EXPECT_EQ(a.place.kind, b.place.kind);
    EXPECT_EQ(a.place.value, b.place.value);
    EXPECT_EQ(a.place.name, b.place.name);
    EXPECT_EQ(a.place.weight, b.place.weight);
    EXPECT_EQ(score[i].mean, read[i].mean);
    EXPECT_EQ(score[i].standard_error, read[i].standard_error);
    EXPECT_EQ(score[i].count, read[i].count);
    EXPECT_THAT(read[i].items, SizeIs(0));
    expect_same_facts(score[i], read[i]);
  }
}

TEST(ScoreJson, AnOldRecordSaysTheSame) {
  const Json results = Json::parse(
      R"({"accuracy":0.5,"perplexity":41.5,"tasks":{)"
      R"("last_word":{"accuracy":0.5,"accuracy_stderr":0.1666,"perplexity":41.5,)"
      R"("perplexity_stderr":8.0,"hits":5,"n":10,"file":"w.jsonl","sha256":"bb","max_context":2048},)"
      R"("perplexity":{"perplexity":27.17,"perplexity_stderr":null,"n":1,"predictions":511,)"
      R"("window":2048,"stride":2048,"context":1,"file":"t.txt","sha256":"aa"},)"
      R"("positions":{"mean":0.25,"mean_stderr":0.125,"n":4,"file":"f","sha256":"dd"}}})",
      "results");
  Json hashes;
  hashes["tokenizer"] = "cc";
  const Score old = read_score(results, hashes);
  ASSERT_THAT(old, SizeIs(4));
  const Score now = named(some_scores());
  for (size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(old[i].metric.name, now[i].metric.name);
    std::vector<std::string> keys, new_keys;
    for (const ProtocolFact& fact : old[i].protocol) keys.push_back(fact.key);
    for (const ProtocolFact& fact : now[i].protocol) new_keys.push_back(fact.key);
    EXPECT_EQ(keys, new_keys);  // a run from before is comparable with one of today
  }
  EXPECT_EQ(old[0].mean, 27.17);
  EXPECT_TRUE(std::isnan(old[0].standard_error));
  EXPECT_EQ(old[0].count, 1);
  EXPECT_EQ(old[1].standard_error, 0.1666);
  EXPECT_EQ(old[2].count, 10);
  EXPECT_EQ(old[3].metric.name, "position_error");
  EXPECT_EQ(old[3].mean, 0.25);
}

TEST(ScoreJson, OtherToolsResultsAreThoseOfTheLastWordTaskWithoutAProtocol) {
  const Score score = read_score(Json::parse(R"({"accuracy":0.4,"perplexity":18.5})", "r"), {});
  ASSERT_THAT(score, SizeIs(2));
  EXPECT_EQ(score[0].metric.name, "accuracy");
  EXPECT_EQ(score[0].mean, 0.4);
  EXPECT_EQ(score[1].metric.name, "last_word_perplexity");
  EXPECT_THAT(score[1].protocol, SizeIs(0));
  EXPECT_THAT(read_score(Json(3), {}), SizeIs(0));
}

TEST(ScoreJson, WhatIsNoMetricIsLeftOut) {
  for (const char* text : {"[3]", "[{}]", R"([{"metric":"x"}])", R"([{"metric":"x","mean":"1"}])",
                           R"([{"metric":3,"mean":1}])", R"([{"metric":"x","mean":NaN}])"}) {
    Json results;
    results["metrics"] = Json::parse(text, "metrics");
    EXPECT_THAT(read_score(results, {}), SizeIs(0)) << text;
  }
  Json results;
  results["metrics"] = Json::parse(
      R"([{"metric":"x","mean":1,"items":1e300,"protocol":[3],"items_in":{"value":[3]},"words":1}])",
      "metrics");
  const Score score = read_score(results, {});
  ASSERT_THAT(score, SizeIs(1));
  EXPECT_EQ(score[0].metric.words.label, "x");
  EXPECT_EQ(score[0].count, 0);
}

TEST(Items, ReadBackTheyAreTheSame) {
  const fixtures::Folder folder;
  const Scores scores = some_scores();
  fixtures::put(folder / "items.jsonl", items_text(scores, {{{1, 2, 3}, 1}, {{4, 5}, 1}}));
  const Score score = named(scores);
  Score read = recorded(score);
  read_items(folder / "items.jsonl", read);
  for (size_t i = 0; i < score.size(); ++i) {
    EXPECT_TRUE(same_items(read[i].items, score[i].items));
    EXPECT_EQ(mean_of(read[i].metric.form, read[i].items), score[i].mean);
  }
}

TEST(Items, PathsAndLinesWithoutAKindAreRead) {
  const fixtures::Folder folder;
  Metric metric;
  metric.name = "far";
  metric.place = {"", {"projector", "relative_error"}, "picture", ""};
  Score score{score_of_items(metric, {{"a", 1}}, {})};
  score[0].items.clear();
  fixtures::put(folder / "items.jsonl", R"({"picture":"x.png","projector":{"relative_error":0.5}})"
                                        "\n");
  read_items(folder / "items.jsonl", score);
  ASSERT_THAT(score[0].items, SizeIs(1));
  EXPECT_EQ(score[0].items[0].name, "x.png");
  EXPECT_EQ(score[0].items[0].value, 0.5);
}

TEST(Items, DamagedLinesAreErrorsWithFileAndLine) {
  const fixtures::Folder folder;
  const std::string path = folder / "items.jsonl";
  const std::string good = R"({"kind":"last_word","index":0,"nll":1.5,"hit":true})";
  for (const std::string bad :
       {R"({"kind":"last_word","index":1,"nll":1.5)", R"({"kind":"word","nll":1})",
        R"({"kind":"window","start":0,"predictions":0,"nll":1})",
        R"({"kind":"window","start":0,"predictions":3,"nll":NaN})",
        R"({"kind":"window","predictions":3,"nll":1})",
        R"({"kind":"last_word","index":1,"nll":1.5,"hit":1})"}) {
    fixtures::put(path, good + "\n" + bad + "\n");
    Score score = recorded(named(some_scores()));
    EXPECT_THAT([&] { read_items(path, score); }, ThrowsMessage<Error>(HasSubstr("items.jsonl:2")))
        << bad;
  }
}

}  // namespace
}  // namespace scute::score_json_test
