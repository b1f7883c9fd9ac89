#include "scute/text/unigram.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "scute/base/error.h"

namespace scute::unigram_test {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

/// <unk>, a, b, c, ab, bc, é: ids 0 to 6.
Json small_pieces() {
  return Json::parse(R"({"type": "Unigram", "unk_id": 0, "vocab": [["<unk>", 0], ["a", -1],
      ["b", -1.5], ["c", -1], ["ab", -2], ["bc", -2], ["é", -3]]})",
                     "test");
}

std::vector<int32_t> pieces_of(const Json& model, std::string_view word) {
  WordCache cache;
  std::vector<int32_t> ids;
  Unigram::parse(model, "f").encode(word, cache, ids);
  return ids;
}

std::string unigram_problem(const Json& model, std::string_view word = "") {
  try {
    pieces_of(model, word);
  } catch (const Error& error) {
    return error.what();
  }
  return "none";
}

TEST(Unigram, TakesTheLargestSum) {
  const Json model = small_pieces();
  EXPECT_THAT(pieces_of(model, "ab"), ElementsAre(4)) << "-2, not -2.5";
  EXPECT_THAT(pieces_of(model, "abc"), ElementsAre(1, 5)) << "of equal sums the longest last piece";
  EXPECT_THAT(pieces_of(model, "éa"), ElementsAre(6, 1));
  EXPECT_THAT(pieces_of(model, ""), ElementsAre());
}

TEST(Unigram, UnknownCharactersSideBySideAreOneId) {
  EXPECT_THAT(pieces_of(small_pieces(), "xya漢b"), ElementsAre(0, 1, 0, 2));
  Json bytes = small_pieces();
  bytes["byte_fallback"] = true;
  EXPECT_THAT(pieces_of(bytes, "xa"), ElementsAre(0, 1)) << "no piece for that byte";
  bytes["vocab"].push_back(Json::parse(R"(["<0x78>", -9])", "test"));
  EXPECT_THAT(pieces_of(bytes, "xxa"), ElementsAre(7, 7, 1));
  EXPECT_THAT(pieces_of(bytes, "xya"), ElementsAre(0, 1)) << "y is no byte, so neither is";
}

TEST(Unigram, AnUnknownCharacterCostsTenMoreThanTheLeastLikelyPiece) {
  const auto with = [&](const char* scored) {
    Json out = Json::parse(R"({"type": "Unigram", "unk_id": 0, "vocab": [["<unk>", 0], ["a", -3],
                              ["b", 20]]})",
                           "test");
    out["vocab"].push_back(Json::parse(scored, "test"));
    return out;
  };
  EXPECT_THAT(pieces_of(with(R"(["zb", 6.9])"), "zb"), ElementsAre(0, 2)) << "-13 + 20 is more";
  EXPECT_THAT(pieces_of(with(R"(["zb", 7.1])"), "zb"), ElementsAre(3));
}

TEST(Unigram, BadModelsAreRefusedByPlace) {
  Json model = small_pieces();
  model["unk_id"] = Json();
  EXPECT_EQ(unigram_problem(model, "ab"), "none");
  EXPECT_THAT(unigram_problem(model, "x"), HasSubstr("f: expected an unk_id"));
  for (const int64_t id : {-1, 7}) {
    model["unk_id"] = id;
    EXPECT_THAT(unigram_problem(model), HasSubstr("f: model.unk_id: expected a place in vocab"));
  }
  model = small_pieces();
  model["vocab"].push_back(Json::parse(R"(["d"])", "test"));
  EXPECT_THAT(unigram_problem(model), HasSubstr("f: model.vocab[7]: expected a piece"));
  model = small_pieces();
  model["vocab"].push_back(Json::parse(R"(["d", "x"])", "test"));
  EXPECT_THAT(unigram_problem(model), HasSubstr("f: model.vocab[7]: expected"));
}

}  // namespace
}  // namespace scute::unigram_test
