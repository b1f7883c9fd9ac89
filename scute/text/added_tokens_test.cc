#include "scute/text/added_tokens.h"

#include <gtest/gtest.h>

#include <chrono>
#include <string>
#include <vector>

namespace scute::added_tokens_test {
namespace {

AddedToken token(int32_t id, std::string content) {
  return {.content = std::move(content),
          .id = id,
          .normalized = false,
          .single_word = false,
          .lstrip = false,
          .rstrip = false};
}
AddedToken word(int32_t id, std::string content) {
  AddedToken result = token(id, std::move(content));
  result.single_word = true;
  return result;
}
AddedToken stripping(int32_t id, std::string content, bool left, bool right) {
  AddedToken result = token(id, std::move(content));
  result.lstrip = left;
  result.rstrip = right;
  return result;
}

/// "text[TOKEN=id]text".
std::string split(std::vector<AddedToken> tokens, std::string_view text) {
  std::string out;
  for (const TextPiece& piece : AddedTokens(std::move(tokens)).split(text)) {
    const std::string found(piece.text);
    out += piece.id ? "[" + found + "=" + std::to_string(*piece.id) + "]" : "(" + found + ")";
  }
  return out;
}

TEST(AddedTokens, CutTheText) {
  EXPECT_EQ(split({token(1, "<m>")}, "a<m>b<m>"), "(a)[<m>=1](b)[<m>=1]");
  EXPECT_EQ(split({token(1, "<m>")}, "<m><m"), "[<m>=1](<m)");
  EXPECT_EQ(split({token(1, "<m>")}, ""), "");
  EXPECT_EQ(split({}, "text"), "(text)");
}

TEST(AddedTokens, TheLeftmostWinsAndOfThoseTheLongest) {
  EXPECT_EQ(split({token(1, "ab"), token(2, "abcd"), token(3, "bcdef")}, "abcdef"), "[abcd=2](ef)");
  EXPECT_EQ(split({token(1, "ab"), token(2, "abcd")}, "abcx"), "[ab=1](cx)");
  EXPECT_EQ(split({token(1, "  "), token(2, "   ")}, "     "), "[   =2][  =1]");
}

TEST(AddedTokens, StripFlagsTakeWhiteSpace) {
  EXPECT_EQ(split({stripping(1, "<m>", true, false)}, "a \n<m> b"), "(a)[ \n<m>=1]( b)");
  EXPECT_EQ(split({stripping(1, "<m>", false, true)}, "a <m>\u3000\tb"), "(a )[<m>\u3000\t=1](b)");
  EXPECT_EQ(split({stripping(1, "<m>", true, true)}, " <m> <m> "), "[ <m> =1][<m> =1]");
}

TEST(AddedTokens, ATokenInsideStrippedBlanksIsTreatedAsTheLibraryDoes) {
  // The Hugging Face library goes on searching behind the content, not behind the blanks taken.
  EXPECT_EQ(split({stripping(1, "  ", true, true)}, "    a"), "[    =1](a)");
  EXPECT_EQ(split({stripping(1, "  ", false, true)}, "    a"), "[    =1][  =1](a)");
}

TEST(AddedTokens, BlanksTakenByOneTokenAreNotTakenAgain) {
  EXPECT_EQ(split({stripping(1, "  ", true, false), stripping(2, "<m>", false, true)}, "<m>     a"),
            "[<m>     =2](a)");
}

TEST(AddedTokens, ASingleWordTouchesNoWordCharacter) {
  EXPECT_EQ(split({word(1, "cat")}, "cat, cat"), "[cat=1](, )[cat=1]");
  EXPECT_EQ(split({word(1, "cat")}, "cats bobcat _cat cat1 écat"), "(cats bobcat _cat cat1 écat)");
  EXPECT_EQ(split({word(1, "cat")}, "cat\u0301 cat\u200D"), "(cat\u0301 cat\u200D)")
      << "marks and joiners are word characters";
  EXPECT_EQ(split({word(1, "cat")}, "漢cat cat。"), "(漢cat )[cat=1](。)");
}

TEST(AddedTokens, ARefusedWordHidesShorterTokensInIt) {
  EXPECT_EQ(split({word(1, "cat"), token(2, "at")}, "cats at"), "(cats )[at=2]");
}

TEST(AddedTokens, EqualContentsKeepTheLowerId) {
  EXPECT_EQ(split({token(5, "<m>"), token(3, "<m>")}, "<m>"), "[<m>=3]");
}

TEST(AddedTokens, LongRunsOfStrippedBlanksTakeLinearTime) {
  const std::string blanks(1000000, ' ');
  const AddedTokens tokens({stripping(1, "  ", true, true), stripping(2, "<m>", true, true)});
  const auto begin = std::chrono::steady_clock::now();
  const auto pieces = tokens.split(blanks + "<m>" + blanks);
  EXPECT_EQ(pieces.front().text.size(), blanks.size());
  // Seen: 0.03 s; walking each run from each token in it would take 2.5e11 steps.
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(5));
}

}  // namespace
}  // namespace scute::added_tokens_test
