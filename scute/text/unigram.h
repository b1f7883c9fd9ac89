// SentencePiece's Unigram: the pieces of a word whose scores add up to most.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "scute/base/json.h"
#include "scute/text/vocabulary.h"
#include "scute/text/word_cache.h"

namespace scute {

class Unigram {
 public:
  /// `model` is the "model" member of a tokenizer.json: "vocab" lists [piece, score], each piece's
  /// id is its place. Error naming `where` and the entry, also for an unk_id outside of it.
  static Unigram parse(const Json& model, std::string_view where);

  /// Appends the ids of one word in characters (valid UTF-8). A character that is no piece costs 10
  /// more than the piece with the least score; such characters side by side become the tokens
  /// <0x00> … <0xFF> of their bytes (byte_fallback, all of them known), else one unk_id; Error
  /// without one. Of equal sums the one whose last piece is longest. Time grows with the word times
  /// the longest piece; Error beyond 200 steps a byte, which no published vocabulary gets near
  /// (its longest pieces are runs of a few dozen blanks).
  void encode(std::string_view word, WordCache& cache, std::vector<int32_t>& ids) const;

  const Vocabulary& vocabulary() const { return vocabulary_; }

 private:
  /// The best way to a place in a word: the place before, −1 while none is known, and the piece.
  struct Step {
    double score = 0;
    int64_t from = -1;
    int32_t id = 0;
  };

  explicit Unigram(std::string where) : where_(std::move(where)) {}
  void add(const std::string& piece, double score, const std::string& at);
  std::vector<Step> best_steps(std::string_view word) const;
  int32_t unknown() const;
  [[noreturn]] void refuse_long_pieces() const;
  void append_ids(std::string_view piece, std::vector<int32_t>& ids) const;

  std::string where_;
  Vocabulary vocabulary_;
  std::vector<double> scores_;  ///< by id
  /// Of each node of a trie, 0 the root, the id of the piece that ends there; −1: none.
  std::vector<int32_t> piece_at_ = std::vector<int32_t>(1, -1);
  std::unordered_map<uint64_t, uint32_t> children_;  ///< by node · 256 + byte
  std::array<int32_t, 256> fallback_ids_{};  ///< of "<0x00>" …; −1: none, or no byte_fallback
  std::optional<int32_t> unknown_;
  double unknown_score_ = 0;
};

}  // namespace scute
