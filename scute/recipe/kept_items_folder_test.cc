#include "scute/recipe/kept_items_folder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <limits>

#include "scute/base/error.h"
#include "scute/io/file.h"
#include "scute/io/testing.h"

namespace scute::kept_items_folder_test {
namespace {

using ::testing::HasSubstr;

struct KeptParts : ::testing::Test {
  /// Scores the share of items 0 … 9, at most `until` of them; an item's value is its number / 3.
  int64_t score(std::optional<Shard> shard, int64_t until = 100, const char* key = "key") const {
    KeptItemsFolder parts(folder, key, "scute eval …", shard);
    int64_t scored = 0;
    for (int64_t i = 0; i < 10; ++i) {
      if (parts.items().find("task", i) != nullptr || !parts.items().wants(i)) continue;
      if (scored++ == until) return until;  // dies
      Json values;
      values["x"] = static_cast<double>(i) / 3;
      parts.items().tell("task", i, values);
    }
    parts.finish();
    return scored;
  }
  std::string refusal(std::optional<Shard> shard, const char* key = "key") const {
    try {
      score(shard, 100, key);
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  }
  const fixtures::Folder files;
  const std::string folder = files / "p";
};

TEST_F(KeptParts, AreAddedUpWithoutScoringAnything) {
  for (const int64_t i : {2, 0, 1}) score(Shard{i, 3});
  const KeptItemsFolder all(folder, "key", "", std::nullopt);
  EXPECT_EQ(all.known(), 10);
  for (int64_t i = 0; i < 10; ++i) {
    const Json* found = all.items().find("task", i);
    ASSERT_NE(found, nullptr) << i;
    EXPECT_EQ(number_of(*found, "x"), static_cast<double>(i) / 3);  // to the last digit
  }
}

TEST_F(KeptParts, GoOnAfterARunThatDied) {
  EXPECT_EQ(score(Shard{1, 2}, 2), 2);
  EXPECT_EQ(score(Shard{1, 2}), 3);
  EXPECT_EQ(score(Shard{1, 2}), 0);
  EXPECT_EQ(score(Shard{0, 2}), 5);
  EXPECT_EQ(KeptItemsFolder(folder, "key", "", std::nullopt).known(), 10);
}

TEST_F(KeptParts, OfOneAreGoneOnWithAlsoWithoutAShard) {
  EXPECT_EQ(score(std::nullopt, 4), 4);
  EXPECT_EQ(score(std::nullopt), 6);
  EXPECT_EQ(KeptItemsFolder(folder, "key", "", std::nullopt).known(), 10);
}

TEST_F(KeptParts, ATornLineCountsAsNone) {
  score(Shard{0, 1}, 4);
  const std::string file = folder + "/part-0-of-1.jsonl";
  std::string text = read_text(file);
  std::ofstream(file) << text.substr(0, text.size() - 9);
  EXPECT_EQ(score(Shard{0, 1}), 7);
  const KeptItemsFolder all(folder, "key", "", std::nullopt);
  for (int64_t i = 0; i < 10; ++i) EXPECT_NE(all.items().find("task", i), nullptr) << i;
}

TEST_F(KeptParts, WhatAPartLostIsScoredAgain) {
  score(Shard{0, 2});
  score(Shard{1, 2});
  const std::string file = folder + "/part-1-of-2.jsonl";
  std::string text = read_text(file);
  const size_t line = text.find('\n') + 1;
  std::ofstream(file) << text.erase(line, text.find('\n', line) + 1 - line);
  EXPECT_EQ(score(std::nullopt), 1);
}

TEST_F(KeptParts, APartWithoutAWholeHeaderBeginsAnew) {
  score(Shard{0, 2});
  for (const char* torn : {"", "{\"format\": \"scute-eval"}) {
    std::ofstream(folder + "/part-1-of-2.jsonl") << torn;
    EXPECT_THAT(refusal(std::nullopt), HasSubstr("not finished: 1"));
    EXPECT_EQ(score(Shard{1, 2}), 5);
    EXPECT_EQ(KeptItemsFolder(folder, "key", "", std::nullopt).known(), 10);
  }
}

TEST_F(KeptParts, ACopyUnderAnotherNameIsRefused) {
  score(Shard{0, 2});
  std::filesystem::copy_file(folder + "/part-0-of-2.jsonl", folder + "/part-1-of-2.jsonl");
  EXPECT_THAT(refusal(std::nullopt), HasSubstr("expected part 1/2, found part 0/2"));
  EXPECT_THAT(refusal(Shard{1, 2}), HasSubstr("expected part 1/2, found part 0/2"));
}

TEST_F(KeptParts, AreNamedWhenMissingUnfinishedOrForeign) {
  score(Shard{0, 4});
  score(Shard{2, 4}, 1);
  EXPECT_THAT(refusal(std::nullopt), HasSubstr("missing: 1, 3"));
  EXPECT_THAT(refusal(std::nullopt), HasSubstr("not finished: 2"));
  EXPECT_THAT(refusal(Shard{1, 3}), HasSubstr("found parts of 4"));
  EXPECT_THAT(refusal(Shard{0, 4}, "another"),
              HasSubstr("one of another: key, not another; by: scute eval"));
  std::ofstream(folder + "/part-1-of-4.jsonl") << "{}\n";
  EXPECT_THAT(refusal(Shard{1, 4}), HasSubstr("part-1-of-4.jsonl"));
}

TEST_F(KeptParts, AChangedDigitCountsAsNoLine) {
  score(Shard{0, 1});
  const std::string file = folder + "/part-0-of-1.jsonl";
  std::string text = read_text(file);
  const size_t at = text.find("0.6666");
  text[at + 2] = '7';
  std::ofstream(file) << text;
  EXPECT_EQ(score(Shard{0, 1}), 1);
  text[text.find("\"key\"") + 1] = 'j';
  std::ofstream(file) << text;
  EXPECT_THAT(refusal(Shard{0, 1}, "jey"), HasSubstr("a changed one"));
}

TEST_F(KeptParts, OneAtATimeWritesAPart) {
  const KeptItemsFolder first(folder, "key", "", Shard{0, 2});
  EXPECT_THAT(refusal(Shard{0, 2}), HasSubstr("that nobody else is writing"));
  EXPECT_EQ(refusal(Shard{1, 2}), "");
}

TEST_F(KeptParts, WhatIsNotFiniteStaysSo) {
  {
    KeptItemsFolder parts(folder, "key", "", Shard{0, 1});
    Json values;
    values["x"] = std::numeric_limits<double>::infinity();
    parts.items().tell("task", 0, values);
    parts.finish();
  }
  const KeptItemsFolder all(folder, "key", "", std::nullopt);
  EXPECT_TRUE(std::isnan(number_of(*all.items().find("task", 0), "x")));
}

}  // namespace
}  // namespace scute::kept_items_folder_test
