// Byte-pair encoding: a vocabulary, ranked merges, and the ids of a word.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "scute/base/json.h"

namespace scute {

/// The ids of short words seen before, for one caller: natural text repeats most of its words.
/// Bounded: at most 65,536 words of at most 32 bytes, about 8 MB.
class WordCache {
 public:
  /// Appends the ids of `word` to `ids` if it is known.
  bool find(std::string_view word, std::vector<int32_t>& ids) const;
  /// Remembers ids[from…] for `word`, if there is room.
  void add(std::string_view word, const std::vector<int32_t>& ids, size_t from);

 private:
  struct Hash {
    using is_transparent = void;
    size_t operator()(std::string_view word) const { return std::hash<std::string_view>{}(word); }
  };
  struct Span {
    uint32_t begin, count;
  };
  std::unordered_map<std::string, Span, Hash, std::equal_to<>> spans_;
  std::vector<int32_t> ids_;
};

class Bpe {
 public:
  /// `model` is the "model" member of a tokenizer.json. Refused with an Error naming `where` and
  /// the entry: ids that are no integers in [0, 2^31) or come twice, merges of or into unknown
  /// tokens, dropout, and word-part marks (continuing_subword_prefix, end_of_word_suffix).
  static Bpe parse(const Json& model, std::string_view where);
  Bpe(Bpe&&) = default;  // not copied: tokens_ points into ids_
  Bpe& operator=(Bpe&&) = default;

  /// Appends the ids of one word, which is any bytes: its bytes merged, lowest rank first, leftmost
  /// of equals first. Time n·log n. Error for a byte that neither the vocabulary nor unk_token
  /// covers, and for a word of 2^31 bytes or more.
  void encode(std::string_view word, WordCache& cache, std::vector<int32_t>& ids) const;
  /// The same of a word in characters (valid UTF-8). A character that is no token becomes the
  /// tokens <0x00> … <0xFF> of its bytes (byte_fallback, all of them known), else unk_token, else
  /// nothing, as in the Hugging Face library. A cache serves one of the two.
  void encode_characters(std::string_view word, WordCache& cache, std::vector<int32_t>& ids) const;

  /// The id of a vocabulary entry, written in the byte alphabet.
  std::optional<int32_t> id_of(const std::string& token) const;
  /// The bytes an id stands for, or null when no vocabulary entry has it. An entry that is not
  /// written in the byte alphabet stands for itself.
  const std::string* bytes_of(int32_t id) const;
  /// An id's entry as it is written, or null.
  const std::string* token_of(int32_t id) const;
  /// Whether encode() serves: each byte has an entry, or byte_fallback is off.
  bool knows_bytes() const { return knows_bytes_; }
  /// Largest id + 1; 0 when empty.
  int64_t size() const { return size_; }

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
  std::unordered_map<std::string, int32_t> ids_;
  std::unordered_map<int32_t, std::string> bytes_;
  std::unordered_map<int32_t, const std::string*> tokens_;  ///< into the keys of ids_
  std::unordered_map<uint64_t, Merge> merges_;              ///< by left id · 2^32 + right id
  std::array<int32_t, 256> byte_ids_{};                     ///< −1: no entry for this byte
  std::array<int32_t, 256> fallback_ids_{};  ///< of "<0x00>" …; −1: none, or no byte_fallback
  bool byte_fallback_ = false;
  bool knows_bytes_ = true;
  std::optional<int32_t> unknown_;
  bool fuse_unknown_ = false;
  bool ignore_merges_ = false;
  int64_t size_ = 0;
};

}  // namespace scute
