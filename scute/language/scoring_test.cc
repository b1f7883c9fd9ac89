#include "scute/language/scoring.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace scute::scoring_test {
namespace {

Scores some_scores() {
  Scores out;
  out.perplexity = summarize(std::vector<WindowScore>{{0, 7, 21.5}, {8, 7, 19.25}, {16, 7, 0.1}});
  out.last_word = summarize(std::vector<LastWordScore>{{true, 0.25}, {false, 11.0 / 3}});
  return out;
}

TEST(Items, LinesHaveTheScoresOfWindowsThenOfPassages) {
  EXPECT_EQ(items_text(some_scores(), {{{1, 2, 3}, 1}, {{4, 5}, 1}}),
            R"({"kind":"window","index":0,"start":0,"predictions":7,"nll":21.5})"
            "\n"
            R"({"kind":"window","index":1,"start":8,"predictions":7,"nll":19.25})"
            "\n"
            R"({"kind":"window","index":2,"start":16,"predictions":7,"nll":0.1})"
            "\n"
            R"({"kind":"last_word","index":0,"predictions":1,"nll":0.25,"hit":true})"
            "\n"
            R"({"kind":"last_word","index":1,"predictions":1,"nll":3.6666666666666665,"hit":false})"
            "\n");
}

TEST(NamedScore, IsWhatTheResultsSayWithEveryItem) {
  const Scores scores = some_scores();
  ScoreOptions options;
  options.perplexity = "t";
  options.last_word = "w";
  const Score named = named_score(scores, options, {"a", "b", "c"});
  ASSERT_EQ(named.size(), 3u);
  EXPECT_EQ(named[0].metric.name, "perplexity");
  EXPECT_EQ(named[0].mean, scores.perplexity->perplexity);
  EXPECT_EQ(named[0].standard_error,
            scores.perplexity->standard_error * scores.perplexity->perplexity);
  EXPECT_EQ(named[0].count, 3);
  EXPECT_EQ(named[0].items[1].name, "8");
  EXPECT_EQ(named[0].items[1].weight, 7);
  EXPECT_EQ(named[1].mean, 0.5);
  EXPECT_EQ(named[1].standard_error, scores.last_word->accuracy_error);
  EXPECT_EQ(named[2].mean, scores.last_word->perplexity);
  EXPECT_EQ(named[2].standard_error, scores.last_word->perplexity_error);
}

TEST(ScoreWork, WindowsAreThoseThatFitAndNoMoreThanAskedFor) {
  ScoreWork work;
  work.stream.resize(1000);
  EXPECT_EQ(work.windows({.window = 512, .stride = 512}), 1);
  EXPECT_EQ(work.windows({.window = 512, .stride = 100}), 5);
  EXPECT_EQ(work.windows({.window = 512, .stride = 100, .max_windows = 3}), 3);
  EXPECT_EQ(work.windows({.window = 1000, .stride = 1000, .max_windows = 3}), 1);
}

}  // namespace
}  // namespace scute::scoring_test
