#include "scute/language/gguf/tokenizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "scute/io/file.h"
#include "scute/language/test_models.h"
#include "scute/text/testing.h"

namespace scute::tokenizer_test {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class GgufTokenizers : public ::testing::Test {
 protected:
  /// A model of 300 rows with this tokenizer.
  GgufTokenizer of(const Json& tokenizer, const Json& config = Json::object()) {
    ModelDescription model;
    model.path = folder_.path("");
    model.config.vocabulary = 300;
    model.json = config;
    write_file(folder_.path("tokenizer.json"), tokenizer.dump());
    return gguf_tokenizer(model);
  }
  template <class T>
  static T key(const GgufTokenizer& tokenizer, const std::string& name) {
    for (const auto& [key, value] : tokenizer.keys) {
      if (key == name) return std::get<T>(value);
    }
    fail(name, "a key", "none");
  }
  fixtures::Folder folder_;
};

using Words = std::vector<std::string>;
using Numbers = std::vector<int32_t>;

TEST_F(GgufTokenizers, ByteLevelHasTokensOfEveryRowAndMerges) {
  Json json = fixtures::small_tokenizer({{"a", "b"}, {"ab", "c"}});
  Json end = fixtures::added_token(260, "<end>"), blanks = fixtures::added_token(261, "  ");
  end["special"] = true;
  json["added_tokens"] = Json::Array{end, blanks};
  Json config = Json::object();
  config["eos_token_id"] = 260;
  config["pad_token_id"] = 260;
  const GgufTokenizer made = of(json, config);
  EXPECT_EQ(key<std::string>(made, "tokenizer.ggml.model"), "gpt2");
  EXPECT_EQ(key<std::string>(made, "tokenizer.ggml.pre"), "gpt-2");
  const Words tokens = key<Words>(made, "tokenizer.ggml.tokens");
  const Numbers types = key<Numbers>(made, "tokenizer.ggml.token_type");
  ASSERT_EQ(tokens.size(), 300U);
  ASSERT_EQ(types.size(), 300U);
  EXPECT_THAT((Words{tokens[97], tokens[32], tokens[257], tokens[260], tokens[261], tokens[299]}),
              ElementsAre("a", "\u0120", "abc", "<end>", "  ", "[PAD299]"));
  EXPECT_THAT((Numbers{types[97], types[257], types[260], types[261], types[299]}),
              ElementsAre(1, 1, 3, 4, 5));
  EXPECT_THAT(key<Words>(made, "tokenizer.ggml.merges"), ElementsAre("a b", "ab c"));
  EXPECT_EQ(key<uint32_t>(made, "tokenizer.ggml.eos_token_id"), 260U);
  EXPECT_EQ(key<uint32_t>(made, "tokenizer.ggml.padding_token_id"), 260U);
  EXPECT_FALSE(key<bool>(made, "tokenizer.ggml.add_bos_token"));
  EXPECT_THAT(made.remarks, ElementsAre(HasSubstr("its normalizer (NFC)")));
}

TEST_F(GgufTokenizers, MergesInPairsAreTheSame) {
  Json json = fixtures::small_tokenizer({{"a", "b"}});
  json["model"]["merges"] = Json::Array{Json(Json::Array{"a", "b"})};
  EXPECT_THAT(key<Words>(of(json), "tokenizer.ggml.merges"), ElementsAre("a b"));
}

TEST_F(GgufTokenizers, SpecialTokensComeFromThePostProcessor) {
  Json json = fixtures::small_tokenizer({});
  json["added_tokens"] = Json::Array{fixtures::added_token(256, "<s>")};
  json["post_processor"] = Json::parse(R"({"type": "TemplateProcessing",
      "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
      "pair": [], "special_tokens": {"<s>": {"id": "<s>", "ids": [256], "tokens": ["<s>"]}}})",
                                       "test");
  Json config = Json::object();
  config["bos_token_id"] = 3;
  config["eos_token_id"] = Json::Array{7, 8};
  const GgufTokenizer made = of(json, config);
  EXPECT_TRUE(key<bool>(made, "tokenizer.ggml.add_bos_token"));
  EXPECT_FALSE(key<bool>(made, "tokenizer.ggml.add_eos_token"));
  EXPECT_EQ(key<uint32_t>(made, "tokenizer.ggml.bos_token_id"), 256U);
  EXPECT_EQ(key<uint32_t>(made, "tokenizer.ggml.eos_token_id"), 7U);
  EXPECT_THAT(made.remarks, Contains(HasSubstr("2 tokens that end a text")));
}

TEST_F(GgufTokenizers, WithByteFallbackItIsLlama) {
  Json json =
      Json::parse(R"({"added_tokens": [], "normalizer": {"type": "Sequence", "normalizers": [
        {"type": "Prepend", "prepend": "\u2581"},
        {"type": "Replace", "pattern": {"String": " "}, "content": "\u2581"}]},
      "pre_tokenizer": null, "model": {"type": "BPE", "byte_fallback": true, "unk_token": "<unk>",
        "fuse_unk": true, "merges": ["a b", "\u2581 ab"]}})",
                  "test");
  Json vocabulary = Json::object();
  vocabulary["<unk>"] = 0;
  for (int i = 0; i < 256; ++i) vocabulary[fmt::format("<0x{:02X}>", i)] = 1 + i;
  for (const auto& [text, id] : std::initializer_list<std::pair<const char*, int>>{
           {"a", 257}, {"b", 258}, {"\u2581", 259}, {"ab", 260}, {"\u2581ab", 261}}) {
    vocabulary[text] = id;
  }
  json["model"]["vocab"] = vocabulary;
  const GgufTokenizer made = of(json);
  EXPECT_EQ(key<std::string>(made, "tokenizer.ggml.model"), "llama");
  EXPECT_TRUE(key<bool>(made, "tokenizer.ggml.add_space_prefix"));
  const Numbers types = key<Numbers>(made, "tokenizer.ggml.token_type");
  EXPECT_THAT((Numbers{types[0], types[1], types[256], types[257]}), ElementsAre(2, 6, 6, 1));
  const auto scores = key<std::vector<float>>(made, "tokenizer.ggml.scores");
  EXPECT_THAT((std::vector<float>{scores[257], scores[260], scores[261]}),
              ElementsAre(0.0F, -1.0F, -2.0F));
  EXPECT_EQ(key<uint32_t>(made, "tokenizer.ggml.unknown_token_id"), 0U);
  EXPECT_THAT(made.remarks, IsEmpty());
  json["normalizer"] = nullptr;
  json["pre_tokenizer"] = Json::parse(
      R"({"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": "never", "split": false})",
      "test");
  EXPECT_FALSE(key<bool>(of(json), "tokenizer.ggml.add_space_prefix"));
  EXPECT_THAT(of(json).remarks, IsEmpty());
  json["pre_tokenizer"]["prepend_scheme"] = "first";
  json["pre_tokenizer"]["split"] = true;
  const GgufTokenizer cut = of(json);
  EXPECT_TRUE(key<bool>(cut, "tokenizer.ggml.add_space_prefix"));
  EXPECT_THAT(cut.remarks, ElementsAre(HasSubstr("cuts at every blank"),
                                       HasSubstr("not before one that begins with a blank")));
}

TEST_F(GgufTokenizers, OfOtherKindsAreLeftOutAndSaidToBe) {
  const GgufTokenizer unigram = of(Json::parse(
      R"({"added_tokens": [], "model": {"type": "Unigram", "unk_id": 0, "vocab": [["<unk>", 0.0], ["a", -1.0]]}})",
      "test"));
  EXPECT_EQ(key<std::string>(unigram, "tokenizer.ggml.model"), "no_vocab");
  EXPECT_THAT(unigram.remarks, ElementsAre(HasSubstr("neither byte-level BPE nor")));
}

std::string pre(std::string_view json, bool ignore_merges = false) {
  return gguf_pre_tokenizer(Json::parse(json, "test"), ignore_merges);
}
std::string with_split(std::string_view expression, bool ignore_merges,
                       std::string_view behavior = "Isolated", bool digits = false) {
  Json split = Json::parse(R"({"type": "Split", "pattern": {"Regex": ""}})", "test");
  split["pattern"]["Regex"] = expression;
  split["behavior"] = behavior;
  split["invert"] = behavior == "Removed";
  Json::Array steps{split};
  if (digits) steps.push_back(Json::parse(R"({"type": "Digits", "individual_digits": true})", ""));
  steps.push_back(Json::parse(R"({"type": "ByteLevel", "use_regex": false})", "test"));
  Json node = Json::parse(R"({"type": "Sequence"})", "test");
  node["pretokenizers"] = steps;
  return gguf_pre_tokenizer(node, ignore_merges);
}

TEST(GgufPreTokenizer, IsNamedByWhatItDoes) {
  constexpr std::string_view kThree =
      R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
  EXPECT_EQ(with_split(kThree, true), "llama-bpe");
  EXPECT_EQ(with_split(kThree, false), "dbrx");
  EXPECT_EQ(with_split(kThree, false, "Removed"), "dbrx") << "inverted: what matches stays";
  EXPECT_EQ(
      with_split(
          R"('(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+)",
          false, "Removed"),
      "dbrx")
      << "Granite 4";
  EXPECT_EQ(with_split(kThree, false, "MergedWithNext"), "");
  EXPECT_EQ(with_split(kThree, true, "Isolated", true), "falcon-h1");
  EXPECT_EQ(with_split(R"(\w+)", true), "");
  EXPECT_EQ(pre(R"({"type": "ByteLevel", "add_prefix_space": false})"), "gpt-2");
  EXPECT_EQ(pre(R"({"type": "ByteLevel", "add_prefix_space": false})", true), "");
  EXPECT_EQ(pre(R"({"type": "ByteLevel", "use_regex": false})"), "");
  EXPECT_EQ(pre(R"({"type": "Sequence", "pretokenizers": [
                    {"type": "Digits", "individual_digits": true}, {"type": "ByteLevel"}]})"),
            "starcoder");
  constexpr std::string_view kFalcon = R"({"type": "Sequence", "pretokenizers": [
      {"type": "Punctuation", "behavior": "Contiguous"}, {"type": "ByteLevel"},
      {"type": "Digits", "individual_digits": false},
      {"type": "Split", "pattern": {"Regex": "[0-9][0-9][0-9]"}, "behavior": "Isolated"}]})";
  EXPECT_EQ(pre(kFalcon), "falcon");
  EXPECT_EQ(pre("null"), "");
}

}  // namespace
}  // namespace scute::tokenizer_test
