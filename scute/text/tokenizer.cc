#include "scute/text/tokenizer.h"

#include <algorithm>
#include <utility>
#include <variant>

#include "scute/base/error.h"
#include "scute/base/json.h"
#include "scute/base/keyed_hash.h"
#include "scute/text/added_tokens.h"
#include "scute/text/bpe.h"
#include "scute/text/byte_alphabet.h"
#include "scute/text/decoder.h"
#include "scute/text/json_member.h"
#include "scute/text/normalizer.h"
#include "scute/text/pretokenize.h"
#include "scute/text/special_tokens.h"
#include "scute/text/unigram.h"
#include "scute/text/utf8.h"

namespace scute {
namespace {

using TokenModel = std::variant<Bpe, Unigram>;

TokenModel read_model(const Json& model, const std::string& where) {
  // Files written before the library had other models than BPE leave the type out.
  const Json* given = present(model, "type");
  const std::string at = where + ": model";
  const std::string type = given == nullptr ? "BPE" : given->as_string(at + ".type");
  if (type == "Unigram") return Unigram::parse(model, where);
  if (type != "BPE") fail(at, "BPE or Unigram", type);
  return Bpe::parse(model, where);
}

/// A tokenizer.model is named, not read as bad JSON.
void refuse_sentence_piece(std::string_view file, const std::string& where) {
  // Its protocol buffer begins with the first piece: tag 1, length, tag 1, length, the text, tag 2
  // of its score. JSON that begins with empty lines has other bytes there.
  const auto score = file.size() > 4 ? 4 + size_t{static_cast<unsigned char>(file[3])} : 0;
  const bool pieces = score > 0 && score < file.size() && file[0] == '\n' && file[2] == '\n' &&
                      file[score] == '\x15';
  if (pieces) {
    fail(where, "a tokenizer.json",
         "a SentencePiece model (tokenizer.model): transformers' "
         "AutoTokenizer.from_pretrained(DIR).save_pretrained(DIR) writes the other");
  }
}

const Vocabulary& vocabulary_of(const TokenModel& model) {
  return std::visit([](const auto& one) -> const Vocabulary& { return one.vocabulary(); }, model);
}

AddedToken read_added_token(const Json& entry, const std::string& at) {
  const Json& id = entry.at("id", at);
  const bool fits = id.is_int() && id.as_int(at) >= 0 && std::in_range<int32_t>(id.as_int(at));
  if (!fits) fail(at + ".id", "an id from 0 to 2147483647", id.dump());
  return {.content = entry.at("content", at).as_string(at + ".content"),
          .id = static_cast<int32_t>(id.as_int(at)),
          .normalized = flag(entry, "normalized", !flag(entry, "special", false, at), at),
          .single_word = flag(entry, "single_word", false, at),
          .lstrip = flag(entry, "lstrip", false, at),
          .rstrip = flag(entry, "rstrip", false, at)};
}

/// The added tokens of a file. One id has one text and one text one id, over the vocabulary and the
/// added tokens together.
class AddedTokenList {
 public:
  explicit AddedTokenList(const Vocabulary& vocabulary) : vocabulary_(vocabulary) {}

  void add(AddedToken token, const std::string& at) {
    const auto same_text = by_text_.find(token.content);
    auto known_id = vocabulary_.id_of(token.content);
    if (!known_id && same_text != by_text_.end()) known_id = tokens_[same_text->second].id;
    if (known_id && *known_id != token.id) {
      fail(at, "id " + std::to_string(*known_id) + ", which this text has elsewhere in the file",
           std::to_string(token.id));
    }
    if (!known_id && (vocabulary_.bytes_of(token.id) != nullptr || by_id_.contains(token.id))) {
      fail(at, "an id of its own", std::to_string(token.id) + ", which another token has");
    }
    if (same_text != by_text_.end()) {  // the same token again: the later flags hold
      tokens_[same_text->second] = std::move(token);
      return;
    }
    by_text_.emplace(token.content, tokens_.size());
    by_id_.insert(token.id);
    tokens_.push_back(std::move(token));
  }
  std::vector<AddedToken> take() { return std::move(tokens_); }

 private:
  const Vocabulary& vocabulary_;
  std::vector<AddedToken> tokens_;
  KeyedMap<std::string, size_t> by_text_;
  KeyedSet<int32_t> by_id_;
};

std::vector<AddedToken> read_added_tokens(const Json& root, const Vocabulary& vocabulary,
                                          const std::string& where) {
  AddedTokenList tokens(vocabulary);
  const Json* list = present(root, "added_tokens");
  if (list == nullptr) return {};
  size_t index = 0;
  for (const Json& entry : list->as_array(where + ": added_tokens")) {
    const std::string at = where + ": added_tokens[" + std::to_string(index++) + "]";
    AddedToken token = read_added_token(entry, at);
    // An empty one matches nothing; the library drops it too.
    if (!token.content.empty()) tokens.add(std::move(token), at);
  }
  return tokens.take();
}

/// The tokens to look for in the raw text, or those in the normalized text, whose own contents are
/// normalized too.
AddedTokens matcher_of(const std::vector<AddedToken>& tokens, bool normalized,
                       const Normalizer& normalizer) {
  std::vector<AddedToken> chosen;
  for (AddedToken token : tokens) {
    if (token.normalized != normalized) continue;
    std::string storage;
    if (normalized) token.content = std::string(normalizer.apply(token.content, storage).text);
    if (token.content.empty()) continue;
    chosen.push_back(std::move(token));
  }
  return AddedTokens(std::move(chosen));
}

}  // namespace

struct Tokenizer::Impl {
  std::string where;
  Normalizer normalizer;
  PreTokenizer pretokenizer;
  SpecialTokens special;
  Decoder decoder;
  TokenModel model;
  AddedTokens raw, normalized;
  KeyedMap<int32_t, std::string> added_text;  ///< of tokens outside the vocabulary
  int64_t size;
  bool use_special = false;

  /// What has come of a text.
  struct Encoding {
    std::vector<int32_t> ids;
    const std::atomic<bool>* cancelled;
    WordCache bytes = {}, characters = {};
  };
  void encode_text(std::string_view text, bool at_start, Encoding& out) const;
  void encode_raw(std::string_view text, bool at_start, Encoding& out) const;
  void encode(std::string_view text, Encoding& out) const;
};

/// Text without added tokens, in normal form.
void Tokenizer::Impl::encode_text(std::string_view text, bool at_start, Encoding& out) const {
  pretokenizer.split(text, at_start, [&](std::string_view word, PreTokenizer::Unit unit) {
    if (out.cancelled != nullptr && *out.cancelled) {
      fail("text", "time to encode it", "an interruption");
    }
    const auto* bpe = std::get_if<Bpe>(&model);
    if (unit == PreTokenizer::Unit::bytes && bpe != nullptr && bpe->knows_bytes()) {
      return bpe->encode(word, out.bytes, out.ids);
    }
    const bool bytes = unit == PreTokenizer::Unit::bytes;
    const std::string written = bytes ? token_of_bytes(word) : "";
    const std::string_view characters = bytes ? written : word;
    if (bpe != nullptr) {
      bpe->encode_characters(characters, out.characters, out.ids);
    } else {
      std::get<Unigram>(model).encode(characters, out.characters, out.ids);
    }
  });
}

/// Text without the tokens that are looked for before normalization.
void Tokenizer::Impl::encode_raw(std::string_view text, bool at_start, Encoding& out) const {
  std::string storage;
  const NormalText normal = normalizer.apply(text, storage);
  for (const TextPiece& piece : normalized.split(normal.text)) {
    if (piece.id) {
      out.ids.push_back(*piece.id);
    } else {
      const bool first = at_start && normal.from_start && piece.text.data() == normal.text.data();
      encode_text(piece.text, first, out);
    }
  }
}

void Tokenizer::Impl::encode(std::string_view text, Encoding& out) const {
  std::string storage;
  const std::string_view valid = with_valid_utf8(text, storage);
  for (const TextPiece& piece : raw.split(valid)) {
    if (piece.id) {
      out.ids.push_back(*piece.id);
    } else {
      encode_raw(piece.text, piece.text.data() == valid.data(), out);
    }
  }
}

Tokenizer Tokenizer::parse(std::string_view json, std::string_view where) {
  const std::string file(where);
  refuse_sentence_piece(json, file);
  const Json root = Json::parse(json, where);
  Normalizer normalizer(present(root, "normalizer"), file + ": normalizer");
  PreTokenizer pretokenizer(present(root, "pre_tokenizer"), file + ": pre_tokenizer");
  SpecialTokens special =
      SpecialTokens::parse(present(root, "post_processor"), file + ": post_processor");
  Decoder decoder(present(root, "decoder"), file + ": decoder");
  TokenModel model = read_model(root.at("model", where), file);
  const Vocabulary& vocabulary = vocabulary_of(model);
  const std::vector<AddedToken> added = read_added_tokens(root, vocabulary, file);
  KeyedMap<int32_t, std::string> added_text;
  int64_t size = vocabulary.size();
  for (const AddedToken& token : added) {
    if (vocabulary.bytes_of(token.id) == nullptr) added_text.emplace(token.id, token.content);
    size = std::max(size, int64_t{token.id} + 1);
  }
  AddedTokens raw = matcher_of(added, false, normalizer);
  AddedTokens normalized = matcher_of(added, true, normalizer);
  return Tokenizer(std::make_unique<Impl>(Impl{.where = file,
                                               .normalizer = std::move(normalizer),
                                               .pretokenizer = std::move(pretokenizer),
                                               .special = std::move(special),
                                               .decoder = std::move(decoder),
                                               .model = std::move(model),
                                               .raw = std::move(raw),
                                               .normalized = std::move(normalized),
                                               .added_text = std::move(added_text),
                                               .size = size}));
}

Tokenizer::Tokenizer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Tokenizer::Tokenizer(Tokenizer&&) noexcept = default;
Tokenizer& Tokenizer::operator=(Tokenizer&&) noexcept = default;
Tokenizer::~Tokenizer() = default;

void Tokenizer::use_special_tokens(bool on) { impl_->use_special = on; }

bool Tokenizer::uses_special_tokens() const { return impl_->use_special; }

std::vector<int32_t> Tokenizer::encode(std::string_view text,
                                       const std::atomic<bool>* cancelled) const {
  std::vector<int32_t> ids = encode_beginning(text, cancelled);
  const auto& after = impl_->special.after;
  if (impl_->use_special) ids.insert(ids.end(), after.begin(), after.end());
  return ids;
}

std::vector<int32_t> Tokenizer::encode_beginning(std::string_view text,
                                                 const std::atomic<bool>* cancelled) const {
  Impl::Encoding out{.ids = {}, .cancelled = cancelled};
  if (impl_->use_special) out.ids = impl_->special.before;
  impl_->encode(text, out);
  return std::move(out.ids);
}

std::string Tokenizer::decode(const std::vector<int32_t>& ids, bool continued) const {
  const bool plain = impl_->decoder.plain();
  const Vocabulary& vocabulary = vocabulary_of(impl_->model);
  std::vector<std::string> tokens;
  std::string text;
  for (const int32_t id : ids) {
    const std::string* token = plain ? vocabulary.bytes_of(id) : vocabulary.token_of(id);
    const auto added = impl_->added_text.find(id);
    if (token == nullptr && added == impl_->added_text.end()) {
      fail(impl_->where, "ids of its vocabulary (size " + std::to_string(impl_->size) + ")",
           "id " + std::to_string(id));
    }
    const std::string& found = token != nullptr ? *token : added->second;
    if (plain) {
      text += found;
    } else {
      tokens.push_back(found);
    }
  }
  return plain ? text : impl_->decoder.decode(std::move(tokens), continued);
}

int64_t Tokenizer::size() const { return impl_->size; }

}  // namespace scute
