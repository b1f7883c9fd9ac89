#include "scute/text/pretokenize.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "scute/base/error.h"
#include "scute/base/random.h"
#include "scute/text/utf8.h"

namespace scute::pretokenize_test {
namespace {

using Words = std::vector<std::string>;

Words words_of(std::string_view text) {
  Words words;
  WordSplitter().split(text, [&](std::string_view word) { words.emplace_back(word); });
  return words;
}

TEST(Pattern, ABadExpressionIsRefusedWithItsPlace) {
  try {
    Pattern("a(b");
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("at byte 3"), std::string::npos) << error.what();
  }
}

TEST(Pattern, AMatchThatCannotBeDecidedIsAnErrorNotAWrongAnswer) {
  // Nested repeats over 30 letters and no end: 2^30 ways, far beyond any engine's limit.
  const Pattern pattern(R"((?:a+)+b(?=x)|(?:(?:a|aa)+)+$)");
  Pattern::Search search(pattern);
  EXPECT_THROW(search.length_at(std::string(60, 'a') + "c", 0), Error);
}

TEST(Words, AreGpt2s) {
  EXPECT_EQ(words_of("Hello world"), (Words{"Hello", " world"}));
  EXPECT_EQ(words_of("it's we'll I'Ve"), (Words{"it", "'s", " we", "'ll", " I", "'", "Ve"}));
  EXPECT_EQ(words_of("a1b22 333.44"), (Words{"a", "1", "b", "22", " 333", ".", "44"}));
  EXPECT_EQ(words_of("f(x) = y;\n"), (Words{"f", "(", "x", ")", " =", " y", ";", "\n"}));
  EXPECT_EQ(words_of(""), Words{});
}

TEST(Words, WhiteSpaceLeavesItsLastBlankToTheNextWord) {
  EXPECT_EQ(words_of("a   b"), (Words{"a", "  ", " b"}));
  EXPECT_EQ(words_of("a \n b"), (Words{"a", " \n", " b"}));
  EXPECT_EQ(words_of("a\n\nb"), (Words{"a", "\n", "\n", "b"}));
  EXPECT_EQ(words_of("a   "), (Words{"a", "   "}));
}

TEST(Words, FollowUnicode) {
  EXPECT_EQ(words_of("naïve Größe"), (Words{"naïve", " Größe"}));
  EXPECT_EQ(words_of("漢字かな１２"), (Words{"漢字かな", "１２"}));
  EXPECT_EQ(words_of("x²Ⅷ½"), (Words{"x", "²Ⅷ½"}));
  EXPECT_EQ(words_of("a\u0301b"), (Words{"a", "\u0301", "b"})) << "a mark is no letter";
  EXPECT_EQ(words_of("a\u3000\u2003b"), (Words{"a", "\u3000", "\u2003", "b"}));
  EXPECT_EQ(words_of("a\u0085b"), (Words{"a", "\u0085", "b"}));
  EXPECT_EQ(words_of("a \u180E\u200B"), (Words{"a", " \u180E\u200B"})) << "no white space";
}

TEST(Words, TogetherAreTheText) {
  Random random(7);
  const char32_t alphabet[] = {'a',  'Z', '\'', 's',  ' ',    ' ',
                               '\n', '1', '.',  0xE9, 0x3000, 0x1F642};
  for (int round = 0; round < 300; ++round) {
    std::string text, together;
    for (uint64_t i = random.below(40); i > 0; --i) {
      append_utf8(alphabet[random.below(std::size(alphabet))], text);
    }
    for (const std::string& word : words_of(text)) {
      EXPECT_FALSE(word.empty());
      together += word;
    }
    EXPECT_EQ(together, text);
  }
}

TEST(Words, OfAMegabyteAreWithinTheEnginesLimits) {
  for (const std::string unit : {"x", " ", "\n", "é", "1", "-", "\u3000"}) {
    std::string text;
    while (text.size() < 1000000) text += unit;
    EXPECT_EQ(words_of(text).size(), 1u) << "of \"" << unit << '"';
    EXPECT_EQ(words_of(text + "=").size(), unit == "-"                            ? 1u
                                           : unit == " "                          ? 2u
                                           : unit[0] == '\n' || unit[0] == '\xE3' ? 3u
                                                                                  : 2u)
        << unit;
  }
}

}  // namespace
}  // namespace scute::pretokenize_test
