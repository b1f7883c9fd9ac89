// Expressions of files: what they mean here, and that no text takes forever.
#include "scute/text/pattern.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>

#include "scute/base/error.h"
#include "scute/text/expression.h"
#include "scute/text/split.h"
#include "scute/text/testing.h"
#include "scute/text/tokenizer.h"
#include "scute/text/utf8.h"

namespace scute::pattern_test {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

template <class Call>
std::string expression_problem(Call call) {
  try {
    call();
  } catch (const Error& error) {
    return error.what();
  }
  return "none";
}

Json with_split(std::string_view expression) {
  Json root = fixtures::small_tokenizer({});
  Json& split = root["pre_tokenizer"];
  split = Json::object();
  split["type"] = "Split";
  split["pattern"]["Regex"] = std::string(expression);
  split["behavior"] = "Isolated";
  return root;
}

TEST(BoundedPatterns, RunawayExpressionsAreNamedQuickly) {
  const std::string run(5000, 'a');
  for (const auto& [expression, end] : std::vector<std::pair<std::string, std::string>>{
           {"(a+)+b", "cb"},                 // exponential
           {"(?:a|a)*c", "xc"},              // exponential, in a group that repeats
           {"(?:a|a){30}c", "xc"},           // never reaches the end of its repeat
           {"a*a*a*a*c", "xc"},              // a power of the length
           {"(?:a?){30}(?:a){30}c", "xc"},   //
           {"(?=(?:a+)+c)a", "xc"},          // in what is looked ahead at
           {"[ab]+c|(?:\\w+\\s?)*!", "?!"},  //
       }) {
    const Tokenizer tokenizer = Tokenizer::parse(with_split(expression).dump(), "f");
    const std::string text = run + end;
    const auto begin = std::chrono::steady_clock::now();
    EXPECT_THAT(
        expression_problem([&] { tokenizer.encode(text); }),
        AllOf(HasSubstr("f: pre_tokenizer.pattern.Regex " + Json(expression).dump() + ": expected"),
              HasSubstr("at most 200 steps a byte of text"), HasSubstr("found more on a text of")))
        << expression;
    // Seen: 0.05 s. 10 s allows sanitizers.
    EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(10)) << expression;
  }
}

TEST(BoundedPatterns, TheSquareOfALengthIsTooMuch) {
  // From each letter to the end and back: PCRE2's own limit is one of each match and counts no
  // repeats of one character. 1.8e9 steps, were they taken.
  const Tokenizer tokenizer = Tokenizer::parse(with_split("a(\\w+)(?=!)").dump(), "f");
  const std::string text = std::string(60000, 'a') + "?!";
  EXPECT_THAT(expression_problem([&] { tokenizer.encode(text); }),
              HasSubstr("found more on a text of 60002 bytes"));
  EXPECT_NO_THROW(tokenizer.encode(std::string(90, 'a') + "?!"));
}

TEST(BoundedPatterns, ANormalizersExpressionIsBoundedToo) {
  Json root = fixtures::small_tokenizer({});
  root["normalizer"] =
      Json::parse(R"({"type": "Replace", "pattern": {"Regex": "(a+)+b"}, "content": "x"})", "test");
  const Tokenizer tokenizer = Tokenizer::parse(root.dump(), "f");
  EXPECT_THAT(expression_problem([&] { tokenizer.encode(std::string(5000, 'a') + "cb"); }),
              HasSubstr("f: normalizer.pattern.Regex \"(a+)+b\": expected"));
}

TEST(BoundedPatterns, PublishedExpressionsStayFarBelowTheLimit) {
  // Llama 3's, on what makes it go back most: blanks and letters without end.
  const Tokenizer tokenizer = Tokenizer::parse(
      with_split(R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?)"
                 R"([^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)")
          .dump(),
      "f");
  for (const char* unit : {" ", "a", "1", " \n", "!\n", "'s", "A a"}) {
    std::string text;
    while (text.size() < 300000) text += unit;
    EXPECT_NO_THROW(tokenizer.encode(text)) << unit;
  }
}

TEST(BoundedPatterns, ALongExpressionIsShortenedInAnError) {
  const std::string expression = "(?:" + std::string(80, 'a') + "|é|a+)*b";
  const Tokenizer tokenizer = Tokenizer::parse(with_split("(a+)+b|" + expression).dump(), "f");
  EXPECT_THAT(expression_problem([&] { tokenizer.encode(std::string(5000, 'a') + "cb"); }),
              HasSubstr("Regex \"(a+)+b|(?:" + std::string(50, 'a') + "…\": expected"));
}

TEST(Expressions, RepeatsAndRepeatedGroupsAreCounted) {
  EXPECT_EQ(perl_expression("a+b*?c{2,}d?+", "f"), "a+(?C1)b*?(?C1)c{2,}(?C1)d?+(?C1)");
  EXPECT_EQ(perl_expression("(?:a|(b))+(c)", "f"), "(?:(?C1)a|(b))+(?C1)(c)");
  EXPECT_EQ(perl_expression("(?i)(a){3}[(]\\((x)*", "f"),
            "(?i)((?C1)a){3}(?C1)[(]\\(((?C1)x)*(?C1)");
  EXPECT_EQ(perl_expression("{x}", "f"), "{x}(?C1)");
}

TEST(Expressions, WhatTheLibraryReadsAsAnotherRepeatOrNoPropertyIsRefused) {
  for (const char* bad : {"a{,2}", "a{2}?", "a**", "a+*", "a{1,2}{2}", "\\pL", "a?+?"}) {
    EXPECT_THAT(expression_problem([&] { perl_expression(bad, "f"); }),
                HasSubstr("f: expected a regular expression in the words that scute knows"))
        << bad;
  }
  EXPECT_EQ(perl_expression("a{1,2}?", "f"), "a{1,2}?(?C1)");
}

/// How many of all characters match.
int64_t matching(std::string_view expression) {
  static const std::string all = [] {
    std::string text;
    for (char32_t c = 0; c < 0x110000; ++c) {
      if (c < 0xD800 || c >= 0xE000) append_utf8(c, text);
    }
    return text;
  }();
  int64_t found = 0;
  for_each_match(Pattern(perl_expression(expression, "f")), all, [&](auto) { ++found; });
  return found;
}

TEST(Expressions, SetsHaveTheLibrarysSizes) {
  // Counted with tokenizers 0.23.3, which has Unicode 16.
  for (const auto& [expression, size] : std::vector<std::pair<std::string, int64_t>>{
           {R"(\p{Letter})", 141028},
           {R"(\p{N})", 1911},
           {R"(\p{Lu})", 1858},
           {R"(\p{Ll})", 2258},
           {R"([\p{M}])", 2501},
           {R"(\s)", 25},
           {R"(\w)", 144671},
           {R"(\d)", 760},
           {R"(\p{punct})", 855},
           {R"(\p{LC})", 4147},
           // One match for each run of the others.
           {R"(\p{^L}+)", 678},
           {R"(\P{L}+)", 678},
           {R"([^\p{L}]+)", 678},
           {R"(\W+)", 798},
           {R"(\D+)", 72},
       }) {
    EXPECT_EQ(matching(expression), size) << expression;
  }
}

}  // namespace
}  // namespace scute::pattern_test
