#include "scute/text/normalize.h"

#include <gtest/gtest.h>

#include <chrono>
#include <utility>

namespace scute::normalize_test {
namespace {

std::string normal(std::string_view text, NormalForm form = NormalForm::nfc) {
  std::string storage;
  return std::string(normal_form(text, form, storage));
}

TEST(Nfc, TextBelowU0300IsReturnedWithoutACopy) {
  const std::string text = "plain, naïve, \u02FF";
  std::string storage;
  EXPECT_EQ(normal_form(text, NormalForm::nfc, storage).data(), text.data());
}

TEST(Nfc, KnownTextsTakeTheirNormalForm) {
  // Right: Python's unicodedata.normalize("NFC", …).
  const std::pair<std::string, std::string> cases[] = {
      {"e\u0301", "é"},
      {"xe\u0301y e\u0301", "xéy é"},
      {"\u212B \u2126", "Å Ω"},                              // singletons
      {"\uFB01", "\uFB01"},                                  // compatibility only: kept
      {"\u0915\u093C \u0958", "\u0915\u093C \u0915\u093C"},  // composition exclusion
      {"a\u0307\u0323", "\u1EA1\u0307"},                     // marks are ordered first
      {"a\u0302\u0300", "\u1EA7"},                           // twice
      {"a\u0305\u0301", "a\u0305\u0301"},                    // blocked by a mark of the same class
      {"\u1112\u1161\u11AB", "\uD55C"},                      // Hangul letters
      {"\uD558\u11AB", "\uD55C"},
      {"\u0344", "\u0308\u0301"},
      {"\u0301e", "\u0301e"},            // a mark that follows nothing
      {"\u00E9\u0323", "\u1EB9\u0301"},  // recomposed around a lower mark
  };
  for (const auto& [text, expected] : cases) EXPECT_EQ(normal(text), expected) << text;
}

TEST(Nfc, TheCharacterBeforeTheFirstHangulFinalIsKept) {
  // utf8proc 2.8 drops U+11A7 after a syllable without a final.
  EXPECT_EQ(normal("\uAC00\u11A7e\u0301"), "\uAC00\u11A7é");
  EXPECT_EQ(normal("\u11A7\u11A7"), "\u11A7\u11A7");
}

TEST(NormalForms, EachComposesOrNotAndMakesPlainOrNot) {
  const std::string text = "\u00E9\uFB01 \uFF21\u0327\u0301\uD55C \u00BD\u00A0";
  EXPECT_EQ(normal(text), "\u00E9\uFB01 \uFF21\u0327\u0301\uD55C \u00BD\u00A0");
  EXPECT_EQ(normal(text, NormalForm::nfd),
            "e\u0301\uFB01 \uFF21\u0327\u0301\u1112\u1161\u11AB \u00BD\u00A0");
  EXPECT_EQ(normal(text, NormalForm::nfkc), "\u00E9fi \u00C1\u0327\uD55C 1\u20442 ");
  EXPECT_EQ(normal(text, NormalForm::nfkd), "e\u0301fi A\u0327\u0301\u1112\u1161\u11AB 1\u20442 ");
  // The longest there is: 18 code points.
  EXPECT_EQ(normal("\uFDFA", NormalForm::nfkc),
            "\u0635\u0644\u0649 \u0627\u0644\u0644\u0647 \u0639\u0644\u064A\u0647 "
            "\u0648\u0633\u0644\u0645");
}

TEST(NormalForms, WhatCameAfterUnicode9StaysAsAndWhereItIs) {
  // As tokenizers 0.23.3 does: U+32FF stands for two characters since 12.1, U+1DF6 is a mark since
  // 10 (a later one would stand before U+0345), U+1E030 is a small letter since 15.
  EXPECT_EQ(normal("\u32FF\U0001E030", NormalForm::nfkc), "\u32FF\U0001E030");
  EXPECT_EQ(normal("a\u0345\u1DF6\u0301"), "a\u0345\u1DF6\u0301");
  EXPECT_EQ(normal("\U00011935\U00011930"), "\U00011935\U00011930");
}

TEST(SmallLetters, AreThoseOfEachCharacterByItself) {
  const auto small = [](char32_t c) {
    std::string out;
    append_small_letters(c, out);
    return out;
  };
  EXPECT_EQ(small('A') + small(U'É') + small(U'Σ') + small(U'ß') + small('1'), "aéσß1");
  EXPECT_EQ(small(0x130), "i\u0307");
  EXPECT_EQ(small(0xA7DC) + small(0x16EB8), "\u019B\U00016ED3") << "of Unicode 16 and 17";
}

TEST(Nfc, NulBytesAreText) {
  const std::string text("a\0e\u0301\0", 6);
  EXPECT_EQ(normal(text), std::string("a\0é\0", 5));
}

TEST(Nfc, AMegabyteOfMarksInTheWrongOrderIsSortedQuickly) {
  std::string text = "q", expected = "q";
  for (int i = 0; i < 250000; ++i) text += "\u0305";  // class 230
  for (int i = 0; i < 250000; ++i) text += "\u0323";  // class 220
  for (int i = 0; i < 250000; ++i) expected += "\u0323";
  for (int i = 0; i < 250000; ++i) expected += "\u0305";
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_TRUE(normal(text) == expected);
  // Seen: 0.05 s; exchanging neighbours would take 6e10 steps, a minute. 10 s allows sanitizers.
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(10));
}

}  // namespace
}  // namespace scute::normalize_test
