#include "scute/language/scoring.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "scute/base/error.h"
#include "scute/language/test_models.h"

namespace scute {
namespace {

using testing::HasSubstr;
using testing::ThrowsMessage;
using testing_models::Folder;

Scores some_scores() {
  Scores out;
  out.perplexity = summarize(std::vector<WindowScore>{{0, 7, 21.5}, {8, 7, 19.25}, {16, 7, 0.1}});
  out.last_word = summarize(std::vector<LastWordScore>{{true, 0.25}, {false, 11.0 / 3}});
  return out;
}

TEST(Items, ReadBackTheyAreTheSameScores) {
  const Folder folder;
  const Scores scores = some_scores();
  write_file(folder.path("items.jsonl"), items_text(scores, {{{1, 2, 3}, 1}, {{4, 5}, 1}}));
  const Scores read = read_items(folder.path("items.jsonl"));
  ASSERT_TRUE(read.perplexity && read.last_word);
  ASSERT_EQ(read.perplexity->windows.size(), 3u);
  for (size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(read.perplexity->windows[i].start, scores.perplexity->windows[i].start);
    EXPECT_EQ(read.perplexity->windows[i].predictions, 7);
    EXPECT_EQ(read.perplexity->windows[i].nll, scores.perplexity->windows[i].nll);
  }
  EXPECT_EQ(read.perplexity->perplexity, scores.perplexity->perplexity);
  EXPECT_EQ(read.perplexity->standard_error, scores.perplexity->standard_error);
  EXPECT_EQ(read.last_word->hits, 1);
  EXPECT_EQ(read.last_word->items[1].nll, 11.0 / 3);
  EXPECT_EQ(read.last_word->perplexity_error, scores.last_word->perplexity_error);
}

TEST(Items, OneTaskAloneLeavesTheOtherEmpty) {
  const Folder folder;
  Scores scores = some_scores();
  scores.perplexity.reset();
  write_file(folder.path("items.jsonl"), items_text(scores, {{{1, 2, 3}, 1}, {{4, 5}, 1}}));
  const Scores read = read_items(folder.path("items.jsonl"));
  EXPECT_FALSE(read.perplexity);
  EXPECT_TRUE(read.last_word);
}

TEST(Items, DamagedLinesAreErrorsWithFileAndLine) {
  const Folder folder;
  const std::string path = folder.path("items.jsonl");
  const std::string good = R"({"kind":"last_word","index":0,"nll":1.5,"hit":true})";
  for (const std::string bad :
       {R"({"kind":"last_word","index":1,"nll":1.5)", R"({"kind":"word","nll":1})",
        R"({"kind":"window","start":0,"predictions":0,"nll":1})",
        R"({"kind":"window","start":0,"predictions":3,"nll":NaN})",
        R"({"kind":"last_word","index":1,"nll":1.5,"hit":1})"}) {
    write_file(path, good + "\n" + bad + "\n");
    EXPECT_THAT([&] { read_items(path); }, ThrowsMessage<Error>(HasSubstr("items.jsonl:2"))) << bad;
  }
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
}  // namespace scute
