// Byte-pair encoding: a vocabulary, ranked merges, and the ids of a word.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "scute/base/json.h"
#include "scute/base/keyed_hash.h"
#include "scute/text/vocabulary.h"
#include "scute/text/word_cache.h"

namespace scute {

class Bpe {
 public:
  /// `model` is the "model" member of a tokenizer.json. Refused with an Error naming `where` and
  /// the entry: ids that are no integers in [0, 2^31) or come twice, merges of or into unknown
  /// tokens, dropout, and word-part marks (continuing_subword_prefix, end_of_word_suffix).
  static Bpe parse(const Json& model, std::string_view where);

  /// Appends the ids of one word, which is any bytes: its bytes merged, lowest rank first, leftmost
  /// of equals first. Time n·log n. Error for a byte that neither the vocabulary nor unk_token
  /// covers, and for a word of 2^31 bytes or more.
  void encode(std::string_view word, WordCache& cache, std::vector<int32_t>& ids) const;
  /// The same of a word in characters (valid UTF-8). A character that is no token becomes the
  /// tokens <0x00> … <0xFF> of its bytes (byte_fallback, all of them known), else unk_token, else
  /// nothing, as in the Hugging Face library. A cache serves one of the two.
  void encode_characters(std::string_view word, WordCache& cache, std::vector<int32_t>& ids) const;

  /// Its entries are written in the byte alphabet where encode() serves.
  const Vocabulary& vocabulary() const { return vocabulary_; }
  /// Whether encode() serves: each byte has an entry, or byte_fallback is off.
  bool knows_bytes() const { return knows_bytes_; }

 private:
  struct Merge {
    uint32_t rank;
    int32_t id;  ///< of the result
  };
  struct Symbols;

  explicit Bpe(std::string where) : where_(std::move(where)) {}
  void read_vocabulary(const Json& vocabulary);
  void read_merges(const Json& merges);
  void read_unknown(const Json& model);
  std::pair<std::string, std::string> read_merge(const Json& merge, const std::string& at) const;
  int32_t require_token(const std::string& token, const std::string& at) const;
  const Merge* find_merge(int32_t left, int32_t right) const;
  Symbols symbols_of(std::string_view word) const;
  Symbols symbols_of_characters(std::string_view word) const;
  bool add_bytes(std::string_view character, Symbols& symbols) const;
  void append_merged(Symbols symbols, std::vector<int32_t>& ids) const;
  void merge_all(Symbols& symbols) const;

  std::string where_;
  Vocabulary vocabulary_;
  KeyedMap<uint64_t, Merge> merges_;         ///< by left id · 2^32 + right id
  std::array<int32_t, 256> byte_ids_{};      ///< −1: no entry for this byte
  std::array<int32_t, 256> fallback_ids_{};  ///< of "<0x00>" …; −1: none, or no byte_fallback
  bool byte_fallback_ = false;
  bool knows_bytes_ = true;
  std::optional<int32_t> unknown_;
  bool fuse_unknown_ = false;
  bool ignore_merges_ = false;
};

}  // namespace scute
