// Tokenizers of other families than GPT-NeoX: ids and texts are those of the Hugging Face library
// (tokenizers 0.23.3) for the same file.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "scute/base/error.h"
#include "scute/text/expression.h"
#include "scute/text/later_characters.h"
#include "scute/text/testing.h"
#include "scute/text/token_finder.h"
#include "scute/text/tokenizer.h"

namespace scute::families_test {
namespace {

using fixtures::added_token;
using fixtures::small_tokenizer;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using Ids = std::vector<int32_t>;

Tokenizer parsed(const Json& root) { return Tokenizer::parse(root.dump(), "f"); }

template <class Call>
std::string problem_of(Call call) {
  try {
    call();
  } catch (const Error& error) {
    return error.what();
  }
  return "none";
}

struct Family {
  const char* pre_tokenizer;
  Ids ids;
};

/// Bytes and merges across kinds of characters, so that each cut shows.
Json mixed_tokenizer() {
  return small_tokenizer({{"a", "1"},
                          {"1", "2"},
                          {"12", "3"},
                          {"a", ","},
                          {",", "."},
                          {"Ġ", "a"},
                          {"a", "a"},
                          {"Ġ", "Ġ"},
                          {"'", "s"},
                          {"3", "4"},
                          {"Ċ", "a"}});
}

TEST(PreTokenizers, CutAsTheLibraryDoes) {
  const std::vector<Family> families{
      {R"j({"type": "Sequence", "pretokenizers": [{"type": "Split", "pattern": {"Regex": "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"}, "behavior": "Isolated", "invert": false}, {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false}]})j",
       {262, 258, 52, 53, 260, 261, 264, 32, 261, 10, 97, 49, 194, 178}},
      {R"j({"type": "Sequence", "pretokenizers": [{"type": "Punctuation", "behavior": "Contiguous"}, {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true}, {"type": "Digits", "individual_digits": false}, {"type": "Split", "pattern": {"Regex": "[0-9][0-9][0-9]"}, "behavior": "Isolated", "invert": false}]})j",
       {262, 258, 52, 53, 260, 261, 39, 115, 32, 261, 10, 97, 49, 194, 178}},
      {R"j({"type": "Sequence", "pretokenizers": [{"type": "Digits", "individual_digits": true}, {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false}]})j",
       {262, 49, 50, 51, 52, 53, 260, 261, 264, 32, 261, 266, 49, 194, 178}},
      {R"j({"type": "Sequence", "pretokenizers": [{"type": "Split", "pattern": {"Regex": "\\s"}, "behavior": "Removed", "invert": false}, {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false}]})j",
       {97, 256, 50, 265, 53, 260, 97, 264, 97, 256, 194, 178}},
      {R"j({"type": "Sequence", "pretokenizers": [{"type": "Split", "pattern": {"Regex": "a"}, "behavior": "MergedWithPrevious", "invert": false}, {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false}]})j",
       {97, 97, 258, 52, 53, 260, 261, 264, 32, 261, 266, 49, 194, 178}},
      {R"j({"type": "Sequence", "pretokenizers": [{"type": "Split", "pattern": {"Regex": "a"}, "behavior": "MergedWithNext", "invert": false}, {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false}]})j",
       {97, 256, 50, 265, 53, 260, 32, 97, 264, 263, 97, 10, 256, 194, 178}},
      {R"j({"type": "Sequence", "pretokenizers": [{"type": "Split", "pattern": {"Regex": "\\w+"}, "behavior": "Removed", "invert": true}, {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false}]})j",
       {97, 256, 50, 265, 53, 97, 115, 97, 256, 194, 178}},
      {R"j({"type": "Sequence", "pretokenizers": [{"type": "Split", "pattern": {"String": "a"}, "behavior": "Contiguous", "invert": false}, {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false}]})j",
       {262, 258, 52, 53, 260, 32, 97, 264, 263, 97, 10, 97, 49, 194, 178}},
      {R"j({"type": "Metaspace", "replacement": ",", "prepend_scheme": "always", "split": true})j",
       {44, 97, 256, 50, 265, 53, 260, 44, 97, 264, 44, 44, 97, 256, 178}},
      {R"j(null)j", {97, 256, 50, 265, 53, 260, 97, 264, 97, 256, 178}},
  };
  for (const Family& family : families) {
    Json root = mixed_tokenizer();
    root["normalizer"] = Json();
    root["pre_tokenizer"] = Json::parse(family.pre_tokenizer, "test");
    EXPECT_EQ(parsed(root).encode("aa12345,. a's  a\na1²"), family.ids) << family.pre_tokenizer;
  }
}

/// <unk>, <s>, <0x00> … <0xFF>, then a few pieces.
Json sentence_pieces(bool unknown, bool fallback) {
  Json root = Json::object();
  Json vocabulary = Json::object();
  int next = 0;
  for (const char* token : {"<unk>", "<s>"}) vocabulary.append_member(token, Json(next++));
  for (int byte = 0; byte < 256; ++byte) {
    char name[8];
    std::snprintf(name, sizeof name, "<0x%02X>", static_cast<unsigned>(byte));
    vocabulary.append_member(name, Json(next++));
  }
  for (const char* token : {"▁", "a", "b", "▁a", "ab"}) {
    vocabulary.append_member(token, Json(next++));
  }
  root["model"]["vocab"] = std::move(vocabulary);
  root["model"]["merges"] = Json::parse(R"([["▁", "a"], ["a", "b"]])", "test");
  root["model"]["fuse_unk"] = true;
  root["model"]["byte_fallback"] = fallback;
  if (unknown) root["model"]["unk_token"] = "<unk>";
  root["normalizer"] = Json::parse(
      R"({"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "▁"},
          {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}]})",
      "test");
  root["decoder"] = Json::parse(
      R"({"type": "Sequence", "decoders": [
          {"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
          {"type": "ByteFallback"}, {"type": "Fuse"},
          {"type": "Strip", "content": " ", "start": 1, "stop": 0}]})",
      "test");
  return root;
}

TEST(SentencePieces, UnknownCharactersBecomeBytesOrUnknownOrNothing) {
  const std::string text = "ab aéé\n";
  EXPECT_THAT(parsed(sentence_pieces(true, true)).encode(text),
              ElementsAre(261, 260, 261, 197, 171, 197, 171, 12));
  EXPECT_THAT(parsed(sentence_pieces(true, false)).encode(text), ElementsAre(261, 260, 261, 0));
  EXPECT_THAT(parsed(sentence_pieces(false, false)).encode(text), ElementsAre(261, 260, 261));
}

TEST(SentencePieces, DecodingGivesTheTextBack) {
  const Tokenizer tokenizer = parsed(sentence_pieces(true, true));
  const std::string text = "ab aéé\n";
  EXPECT_EQ(tokenizer.decode(tokenizer.encode(text)), text);
  EXPECT_EQ(tokenizer.decode({261}), "a");
  EXPECT_EQ(tokenizer.decode({261}, true), " a") << "other tokens stand before";
}

TEST(SentencePieces, MetaspaceFirstPrependsOnlyWhereTheTextBegins) {
  Json root = sentence_pieces(false, true);
  root["normalizer"] = Json();
  root["pre_tokenizer"] = Json::parse(
      R"({"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first", "split": true})",
      "test");
  EXPECT_THAT(parsed(root).encode(" ab  a"), ElementsAre(261, 260, 258, 261));
  root["added_tokens"].push_back(added_token(263, "<m>"));
  EXPECT_THAT(parsed(root).encode("a<m>a"), ElementsAre(261, 263, 259));
}

TEST(SpecialTokens, StandAroundATextOnlyWhenAskedFor) {
  Json root = small_tokenizer({});
  root["post_processor"] = Json::parse(
      R"({"type": "Sequence", "processors": [{"type": "ByteLevel"},
          {"type": "TemplateProcessing",
           "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}},
                      {"Sequence": {"id": "A", "type_id": 0}},
                      {"SpecialToken": {"id": "</s>", "type_id": 0}}],
           "special_tokens": {"<s>": {"id": "<s>", "ids": [7], "tokens": ["<s>"]},
                              "</s>": {"id": "</s>", "ids": [8, 9], "tokens": ["</s>", "x"]}}}]})",
      "test");
  Tokenizer tokenizer = parsed(root);
  EXPECT_THAT(tokenizer.encode("a"), ElementsAre('a'));
  tokenizer.use_special_tokens(true);
  EXPECT_THAT(tokenizer.encode("a"), ElementsAre(7, 'a', 8, 9));
  EXPECT_THAT(tokenizer.encode_beginning("a"), ElementsAre(7, 'a'));
  EXPECT_THAT(tokenizer.encode(""), ElementsAre(7, 8, 9));
  root["post_processor"]["processors"].push_back(
      root.at("post_processor", "").at("processors", "").as_array("")[1]);
  EXPECT_THAT(problem_of([&] { parsed(root); }), HasSubstr("expected one template"));
}

TEST(Expressions, WhatMeansAnotherThingInPerlIsRefused) {
  for (const char* bad : {"[a[b]]", "[a&&b]", "a{1,2}+", "\\bx", "\\h", "\\v", "^a", "a$", "a(?i)b",
                          "(?x:a)", "\\", "[\\W]x\\u12", "\\p{L"}) {
    EXPECT_THAT(problem_of([&] { perl_expression(bad, "f"); }),
                HasSubstr("f: expected a regular expression in the words that scute knows"))
        << bad;
  }
  EXPECT_EQ(perl_expression("(?i:'s)|\\p{N}{1,3}|[^\\]]+\\u00e9", "f"),
            "(?i:'s)|[\\p{N}" + later_characters("N") + "]{1,3}(?C1)|[^\\]]+(?C1)\\x{00e9}");
  EXPECT_EQ(perl_expression("\\p{Han}\\p{Lt}", "f"), "\\p{sc:Han}\\p{Lt}");
}

TEST(TokenFinder, NamesTheLongestAtEachPlace) {
  const TokenFinder finder({"ab", "abcd", "bc", "c"});
  std::string found;
  for (const auto& [begin, token] : finder.find("abcabcd")) {
    found += std::to_string(begin) + ":" + std::to_string(token) + " ";
  }
  EXPECT_EQ(found, "5:3 4:2 3:1 2:3 1:2 0:0 ");
  EXPECT_TRUE(TokenFinder().find("abc").empty());
}

TEST(TokenFinder, TimeGrowsWithTheTextNotWithTheTokens) {
  // Each place begins like a token of 20,000 bytes: 2e10 comparisons one by one.
  Json root = small_tokenizer({});
  root["added_tokens"].push_back(added_token(300, std::string(20000, 'a') + "b"));
  const Tokenizer tokenizer = parsed(root);
  const std::string text(1000000, 'a');
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_EQ(tokenizer.encode(text).size(), text.size());
  // Seen: 0.1 s.
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(10));
}

TEST(SharedCases, IdsAreThoseOfTheLibrary) {
  const std::string folder = "../shared/cases/06-tokenizers/";
  if (!std::filesystem::exists(folder)) GTEST_SKIP() << "SKIPPED: no " << folder;
  const auto read = [&](const std::string& name) {
    std::ifstream file(folder + name, std::ios::binary);
    std::ostringstream text;
    text << file.rdbuf();
    return text.str();
  };
  const Json all = Json::parse(read("ids.json"), "ids.json");
  int64_t compared = 0;
  for (const auto& [name, modes] : all.at("files", "").as_object("")) {
    if (modes.find("plain") == nullptr) continue;  // refused by the library
    Tokenizer tokenizer = Tokenizer::parse(read(name), name);
    for (const bool special : {false, true}) {
      tokenizer.use_special_tokens(special);
      const auto& rows = modes.at(special ? "with_special" : "plain", name).as_array(name);
      const auto& texts = all.at("texts", "").as_array("");
      for (size_t i = 0; i < texts.size(); ++i) {
        Ids expected;
        for (const Json& id : rows[i].as_array(name)) {
          expected.push_back(static_cast<int32_t>(id.as_int(name)));
        }
        EXPECT_EQ(tokenizer.encode(texts[i].as_string("")), expected) << name << " " << i;
        ++compared;
      }
    }
  }
  EXPECT_EQ(compared, 16 * 2 * 9);
}

}  // namespace
}  // namespace scute::families_test
