#include "scute/language/last_word_items.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "scute/base/error.h"
#include "scute/language/model_folder.h"

namespace scute::last_word_items_test {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Property;
using testing::Throws;

constexpr int64_t kVocabulary = 4096;

class LastWordItems : public testing::Test {
 protected:
  ~LastWordItems() override { std::filesystem::remove(path_); }
  std::vector<LastWordItem> read(const std::string& lines, std::optional<int64_t> most = {}) {
    std::ofstream(path_) << lines;
    return read_last_word_items(path_, &tokenizer_, kVocabulary, most);
  }
  void expect_refused(const std::string& lines, const std::string& part) {
    EXPECT_THAT([&] { read(lines); }, Throws<Error>(Property(&Error::what, HasSubstr(part))))
        << lines;
  }

  Tokenizer tokenizer_ = *load_tokenizer(describe_model("examples/tiny-mamba1"));
  std::string path_ = (std::filesystem::temp_directory_path() /
                       ("scute_last_word_" + std::to_string(getpid()) + ".jsonl"))
                          .string();
};

TEST_F(LastWordItems, TheTargetIsTheLastWordWithItsSpace) {
  const std::string context = "He opened the old wooden", word = " door";
  const LastWordItem item = last_word_item(context + word, tokenizer_, "here");
  EXPECT_EQ(item.ids, tokenizer_.encode(context + word));
  // These words begin with their spaces, so that the two halves are tokenized alike apart.
  EXPECT_EQ(item.target, static_cast<int64_t>(tokenizer_.encode(word).size()));
  const std::vector<int32_t> target(item.ids.end() - item.target, item.ids.end());
  EXPECT_EQ(tokenizer_.decode(target), word);
}

TEST_F(LastWordItems, LinesMayBeTextOrIds) {
  const auto items = read(
      "{\"text\": \"one two\", \"source\": \"x\"}\n\n{\"ids\": [5, 6, 7], "
      "\"target\": 2}\n");
  ASSERT_EQ(items.size(), 2u);
  EXPECT_THAT(items[1].ids, ElementsAre(5, 6, 7));
  EXPECT_EQ(items[1].target, 2);
  EXPECT_EQ(read("{\"ids\": [5, 6], \"target\": 1}\nnot json\n", 1).size(), 1u);
}

TEST_F(LastWordItems, RefusesWhatCannotBeScoredNamingTheLine) {
  expect_refused("{\"text\": \"one two\"}\n{\"text\": \"word\"}\n", ".jsonl:2: ");
  expect_refused("{\"text\": \"one two \"}\n", "nothing after");
  expect_refused("{\"text\": \" two\"}\n", "nothing before");
  expect_refused("{\"words\": \"one two\"}\n", "\"text\"");
  expect_refused("{\"text\": 5}\n", "a string");
  expect_refused("{\"text\": \"a b\"\n", ".jsonl:1: ");
  expect_refused("{\"ids\": [5, 6]}\n", "target");
  expect_refused("{\"ids\": [5, 6], \"target\": 2}\n", "one context");
  expect_refused("{\"ids\": [5, 6], \"target\": 0}\n", "one context");
  expect_refused("{\"ids\": [5, 4096], \"target\": 1}\n", "4096");
  expect_refused("{\"ids\": [-1, 6], \"target\": 1}\n", "-1");
  expect_refused("{\"ids\": [1, 99999999999], \"target\": 1}\n", "99999999999");
  expect_refused("\n \n", "at least one line");
}

TEST_F(LastWordItems, TextNeedsATokenizer) {
  std::ofstream(path_) << "{\"text\": \"one two\"}\n";
  EXPECT_THROW(read_last_word_items(path_, nullptr, kVocabulary), Error);
}

}  // namespace
}  // namespace scute::last_word_items_test
