#include "scute/text/bpe.h"

#include <fmt/format.h>

#include <algorithm>
#include <queue>

#include "scute/base/checked.h"
#include "scute/base/error.h"
#include "scute/text/byte_alphabet.h"
#include "scute/text/json_member.h"
#include "scute/text/utf8.h"

namespace scute {
namespace {

uint64_t pair_key(int32_t left, int32_t right) {
  return (static_cast<uint64_t>(static_cast<uint32_t>(left)) << 32) | static_cast<uint32_t>(right);
}

void refuse_text(const Json& model, std::string_view key, const std::string& where) {
  const Json* value = present(model, key);
  const std::string at = where + ": model." + std::string(key);
  if (value != nullptr && !value->as_string(at).empty()) {
    fail(at, "null: byte-level text has no such mark", value->dump());
  }
}

}  // namespace

Bpe Bpe::parse(const Json& model, std::string_view where) {
  Bpe bpe{std::string(where)};
  const Json* dropout = present(model, "dropout");
  if (dropout != nullptr && dropout->as_double(bpe.where_ + ": model.dropout") != 0.0) {
    fail(bpe.where_ + ": model.dropout", "null or 0", dropout->dump());
  }
  refuse_text(model, "continuing_subword_prefix", bpe.where_);
  refuse_text(model, "end_of_word_suffix", bpe.where_);
  bpe.read_vocabulary(model.at("vocab", bpe.where_ + ": model"));
  bpe.read_merges(model.at("merges", bpe.where_ + ": model"));
  bpe.read_unknown(model);
  bpe.ignore_merges_ = flag(model, "ignore_merges", false, bpe.where_ + ": model");
  return bpe;
}

void Bpe::read_vocabulary(const Json& vocabulary) {
  const auto& entries = vocabulary.as_object(where_ + ": model.vocab");
  vocabulary_.reserve(entries.size());
  for (const auto& [token, value] : entries) {
    const bool fits =
        value.is_int() && std::in_range<int32_t>(value.as_int(where_)) && value.as_int(where_) >= 0;
    if (!fits) {
      fail(where_ + ": model.vocab[" + Json(token).dump() + "]", "an id from 0 to 2147483647",
           value.dump());
    }
    const auto id = static_cast<int32_t>(value.as_int(where_));
    if (!vocabulary_.add(token, id)) {
      fail(where_ + ": model.vocab[" + Json(token).dump() + "]", "an id of its own",
           std::to_string(id) + ", which another token has");
    }
  }
  for (int byte = 0; byte < 256; ++byte) {
    byte_ids_[static_cast<size_t>(byte)] =
        vocabulary_.id_of(token_of_byte(static_cast<uint8_t>(byte))).value_or(-1);
  }
}

std::pair<std::string, std::string> Bpe::read_merge(const Json& merge,
                                                    const std::string& at) const {
  if (merge.is_string()) {
    const std::string& text = merge.as_string(at);
    const size_t blank = text.find(' ');
    if (blank == std::string::npos || text.find(' ', blank + 1) != std::string::npos) {
      fail(at, "two tokens with one blank between them", merge.dump());
    }
    return {text.substr(0, blank), text.substr(blank + 1)};
  }
  const auto& pair = merge.as_array(at);
  if (pair.size() != 2) fail(at, "two tokens", std::to_string(pair.size()));
  return {pair[0].as_string(at), pair[1].as_string(at)};
}

int32_t Bpe::require_token(const std::string& token, const std::string& at) const {
  const auto id = vocabulary_.id_of(token);
  if (!id) fail(at, "tokens of the vocabulary", Json(token).dump());
  return *id;
}

void Bpe::read_merges(const Json& merges) {
  const auto& list = merges.as_array(where_ + ": model.merges");
  merges_.reserve(list.size());
  for (size_t i = 0; i < list.size(); ++i) {
    const std::string at = where_ + ": model.merges[" + std::to_string(i) + "]";
    // merges.txt begins with such a line; converters have left it in.
    if (list[i].is_string() && list[i].as_string(at).starts_with("#version")) continue;
    const auto [left, right] = read_merge(list[i], at);
    const uint64_t key = pair_key(require_token(left, at), require_token(right, at));
    // Of a pair listed twice the later rank holds, as in the Hugging Face library.
    merges_[key] = {narrow<uint32_t>(i, at), require_token(left + right, at)};
  }
}

void Bpe::read_unknown(const Json& model) {
  if (const Json* token = present(model, "unk_token")) {
    unknown_ = vocabulary_.id_of(token->as_string(where_ + ": model.unk_token"));
  }
  fuse_unknown_ = flag(model, "fuse_unk", false, where_ + ": model");
  byte_fallback_ = flag(model, "byte_fallback", false, where_ + ": model");
  knows_bytes_ = !byte_fallback_ || std::ranges::find(byte_ids_, -1) == byte_ids_.end();
  fallback_ids_.fill(-1);
  if (byte_fallback_) fallback_ids_ = vocabulary_.fallback_ids();
}

const Bpe::Merge* Bpe::find_merge(int32_t left, int32_t right) const {
  const auto found = merges_.find(pair_key(left, right));
  return found == merges_.end() ? nullptr : &found->second;
}

/// A word as a linked list: merging removes the right symbol and leaves the left one in its place.
struct Bpe::Symbols {
  static constexpr int32_t kNone = -1;
  struct Symbol {
    int32_t id;
    int32_t previous, next;
    bool alive;
  };
  std::vector<Symbol> list;

  static Symbols for_word(std::string_view word) {
    if (!std::in_range<int32_t>(word.size())) {
      fail("text", "words below 2^31 bytes", std::to_string(word.size()) + " bytes");
    }
    Symbols symbols;
    symbols.list.reserve(word.size());
    return symbols;
  }
  void push(int32_t id) {
    const auto at = static_cast<int32_t>(list.size());
    if (at > 0) list.back().next = at;
    list.push_back({id, at - 1, kNone, true});
  }
  Symbol& operator[](int32_t at) { return list[static_cast<size_t>(at)]; }
};

Bpe::Symbols Bpe::symbols_of(std::string_view word) const {
  Symbols symbols = Symbols::for_word(word);
  bool after_unknown = false;
  for (const char c : word) {
    const auto byte = static_cast<unsigned char>(c);
    const bool known = byte_ids_[byte] >= 0;
    if (!known && !unknown_) {
      fail(where_, "a token for each byte of the text", "none for byte " + std::to_string(byte));
    }
    const bool fused = !known && after_unknown && fuse_unknown_;
    if (!fused) symbols.push(known ? byte_ids_[byte] : *unknown_);
    after_unknown = !known;
  }
  return symbols;
}

/// False, and nothing added, unless each byte has a token.
bool Bpe::add_bytes(std::string_view character, Symbols& symbols) const {
  const auto id = [this](char c) { return fallback_ids_[static_cast<unsigned char>(c)]; };
  if (std::ranges::any_of(character, [&](char c) { return id(c) < 0; })) return false;
  for (const char c : character) symbols.push(id(c));
  return true;
}

Bpe::Symbols Bpe::symbols_of_characters(std::string_view word) const {
  Symbols symbols = Symbols::for_word(word);
  // The library writes an unknown token only when the next known character comes, so that bytes of
  // a fallback overtake it.
  bool unknown_waits = false;
  const auto write_unknown = [&] {
    if (unknown_waits) symbols.push(*unknown_);
    unknown_waits = false;
  };
  for (size_t at = 0; at < word.size();) {
    const std::string_view character = word.substr(at, read_code_point(word, at).bytes);
    at += character.size();
    if (const auto id = vocabulary_.id_of(std::string(character))) {
      write_unknown();
      symbols.push(*id);
    } else if (!(byte_fallback_ && add_bytes(character, symbols)) && unknown_) {
      if (!fuse_unknown_) write_unknown();
      unknown_waits = true;
    }
  }
  write_unknown();
  return symbols;
}

void Bpe::merge_all(Symbols& symbols) const {
  struct Candidate {
    uint64_t order;  ///< rank, then position
    int32_t id;      ///< of the merged token
    bool operator>(const Candidate& other) const { return order > other.order; }
  };
  std::vector<Candidate> storage;
  storage.reserve(symbols.list.size());
  std::priority_queue<Candidate, std::vector<Candidate>, std::greater<>> queue(std::greater<>{},
                                                                               std::move(storage));
  const auto offer = [&](int32_t left) {
    const int32_t right = left == Symbols::kNone ? Symbols::kNone : symbols[left].next;
    if (right == Symbols::kNone) return;
    const Merge* merge = find_merge(symbols[left].id, symbols[right].id);
    if (merge == nullptr) return;
    queue.push({(uint64_t{merge->rank} << 32) | static_cast<uint32_t>(left), merge->id});
  };
  for (size_t i = 0; i + 1 < symbols.list.size(); ++i) offer(static_cast<int32_t>(i));
  while (!queue.empty()) {
    const Candidate best = queue.top();
    queue.pop();
    const auto at = static_cast<int32_t>(best.order & 0xFFFFFFFFu);
    const int32_t right = symbols[at].next;
    if (!symbols[at].alive || right == Symbols::kNone) continue;
    // An entry is stale when one of its two symbols has grown since: the pair is another now.
    const Merge* merge = find_merge(symbols[at].id, symbols[right].id);
    if (merge == nullptr || merge->id != best.id) continue;
    symbols[at].id = best.id;
    symbols[at].next = symbols[right].next;
    symbols[right].alive = false;
    if (symbols[at].next != Symbols::kNone) symbols[symbols[at].next].previous = at;
    offer(symbols[at].previous);
    offer(at);
  }
}

void Bpe::append_merged(Symbols symbols, std::vector<int32_t>& ids) const {
  merge_all(symbols);
  for (int32_t at = symbols.list.empty() ? Symbols::kNone : 0; at != Symbols::kNone;
       at = symbols[at].next) {
    ids.push_back(symbols[at].id);
  }
}

void Bpe::encode(std::string_view word, WordCache& cache, std::vector<int32_t>& ids) const {
  if (word.empty() || cache.find(word, ids)) return;
  const size_t from = ids.size();
  std::optional<int32_t> whole;
  if (ignore_merges_) whole = vocabulary_.id_of(token_of_bytes(word));
  if (whole) {
    ids.push_back(*whole);
  } else {
    append_merged(symbols_of(word), ids);
  }
  cache.add(word, ids, from);
}

void Bpe::encode_characters(std::string_view word, WordCache& cache,
                            std::vector<int32_t>& ids) const {
  if (word.empty() || cache.find(word, ids)) return;
  const size_t from = ids.size();
  std::optional<int32_t> whole;
  if (ignore_merges_) whole = vocabulary_.id_of(std::string(word));
  if (whole) {
    ids.push_back(*whole);
  } else {
    append_merged(symbols_of_characters(word), ids);
  }
  cache.add(word, ids, from);
}

}  // namespace scute
