#include "scute/text/tokenizer.h"

#include <algorithm>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include "scute/base/error.h"
#include "scute/base/json.h"
#include "scute/text/added_tokens.h"
#include "scute/text/bpe.h"
#include "scute/text/json_member.h"
#include "scute/text/normalize.h"
#include "scute/text/pretokenize.h"
#include "scute/text/utf8.h"

namespace scute {
namespace {

/// Error unless `part` is absent or of type `wanted`; the found type is named.
void require_type(const Json& root, std::string_view part, std::string_view wanted,
                  std::string_view where) {
  const Json* value = present(root, part);
  if (value == nullptr) return;
  const std::string at = std::string(where) + ": " + std::string(part);
  const std::string& type = value->at("type", at).as_string(at + ".type");
  if (type != wanted) fail(at, wanted, type);
}

/// Files written before the library had other models than BPE leave the type of the model out.
void require_bpe(const Json& model, const std::string& where) {
  const Json* type = present(model, "type");
  if (type == nullptr) return;
  const std::string at = where + ": model";
  if (type->as_string(at + ".type") != "BPE") fail(at, "BPE", type->as_string(at));
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
  explicit AddedTokenList(const Bpe& bpe) : bpe_(bpe) {}

  void add(AddedToken token, const std::string& at) {
    const auto same_text = by_text_.find(token.content);
    auto known_id = bpe_.id_of(token.content);
    if (!known_id && same_text != by_text_.end()) known_id = tokens_[same_text->second].id;
    if (known_id && *known_id != token.id) {
      fail(at, "id " + std::to_string(*known_id) + ", which this text has elsewhere in the file",
           std::to_string(token.id));
    }
    if (!known_id && (bpe_.bytes_of(token.id) != nullptr || by_id_.contains(token.id))) {
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
  const Bpe& bpe_;
  std::vector<AddedToken> tokens_;
  std::unordered_map<std::string, size_t> by_text_;
  std::unordered_set<int32_t> by_id_;
};

std::vector<AddedToken> read_added_tokens(const Json& root, const Bpe& bpe,
                                          const std::string& where) {
  AddedTokenList tokens(bpe);
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
AddedTokens matcher_of(const std::vector<AddedToken>& tokens, bool normalized, bool use_nfc) {
  std::vector<AddedToken> chosen;
  for (AddedToken token : tokens) {
    if (token.normalized != normalized) continue;
    std::string storage;
    if (normalized && use_nfc) token.content = std::string(nfc(token.content, storage));
    chosen.push_back(std::move(token));
  }
  return AddedTokens(std::move(chosen));
}

}  // namespace

struct Tokenizer::Impl {
  std::string where;
  bool use_nfc;
  bool prefix_space;
  bool use_words;
  Bpe bpe;
  AddedTokens raw, normalized;
  std::unordered_map<int32_t, std::string> added_text;  ///< of tokens outside the vocabulary
  WordSplitter words;
  int64_t size;

  void encode_text(std::string_view text, WordCache& cache, std::vector<int32_t>& ids) const;
  void encode_raw(std::string_view text, WordCache& cache, std::vector<int32_t>& ids) const;
};

/// Text without added tokens, in normal form.
void Tokenizer::Impl::encode_text(std::string_view text, WordCache& cache,
                                  std::vector<int32_t>& ids) const {
  std::string storage;
  if (prefix_space && !text.starts_with(' ')) {
    storage.reserve(text.size() + 1);
    storage += ' ';
    storage += text;
    text = storage;
  }
  if (!use_words) return bpe.encode(text, cache, ids);
  words.split(text, [&](std::string_view word) { bpe.encode(word, cache, ids); });
}

/// Text without the tokens that are looked for before normalization.
void Tokenizer::Impl::encode_raw(std::string_view text, WordCache& cache,
                                 std::vector<int32_t>& ids) const {
  std::string storage;
  const std::string_view normal = use_nfc ? nfc(text, storage) : text;
  for (const TextPiece& piece : normalized.split(normal)) {
    if (piece.id) {
      ids.push_back(*piece.id);
    } else {
      encode_text(piece.text, cache, ids);
    }
  }
}

Tokenizer Tokenizer::parse(std::string_view json, std::string_view where) {
  const std::string file(where);
  const Json root = Json::parse(json, where);
  require_type(root, "normalizer", "NFC", where);
  require_type(root, "pre_tokenizer", "ByteLevel", where);
  require_type(root, "post_processor", "ByteLevel", where);
  require_type(root, "decoder", "ByteLevel", where);
  const std::string at = file + ": pre_tokenizer";
  const Json* splitter = present(root, "pre_tokenizer");
  if (splitter == nullptr) fail(at, "ByteLevel", "none");
  const Json& model = root.at("model", where);
  require_bpe(model, file);

  Bpe bpe = Bpe::parse(model, where);
  const bool use_nfc = present(root, "normalizer") != nullptr;
  const std::vector<AddedToken> added = read_added_tokens(root, bpe, file);
  std::unordered_map<int32_t, std::string> added_text;
  int64_t size = bpe.size();
  for (const AddedToken& token : added) {
    if (bpe.bytes_of(token.id) == nullptr) added_text.emplace(token.id, token.content);
    size = std::max(size, int64_t{token.id} + 1);
  }
  const bool prefix_space = splitter->at("add_prefix_space", at).as_bool(at + ".add_prefix_space");
  return Tokenizer(std::make_unique<Impl>(Impl{.where = file,
                                               .use_nfc = use_nfc,
                                               .prefix_space = prefix_space,
                                               .use_words = flag(*splitter, "use_regex", true, at),
                                               .bpe = std::move(bpe),
                                               .raw = matcher_of(added, false, use_nfc),
                                               .normalized = matcher_of(added, true, use_nfc),
                                               .added_text = std::move(added_text),
                                               .words = {},
                                               .size = size}));
}

Tokenizer::Tokenizer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Tokenizer::Tokenizer(Tokenizer&&) noexcept = default;
Tokenizer& Tokenizer::operator=(Tokenizer&&) noexcept = default;
Tokenizer::~Tokenizer() = default;

std::vector<int32_t> Tokenizer::encode(std::string_view text) const {
  std::string storage;
  std::vector<int32_t> ids;
  WordCache cache;
  for (const TextPiece& piece : impl_->raw.split(with_valid_utf8(text, storage))) {
    if (piece.id) {
      ids.push_back(*piece.id);
    } else {
      impl_->encode_raw(piece.text, cache, ids);
    }
  }
  return ids;
}

std::string Tokenizer::decode(const std::vector<int32_t>& ids) const {
  std::string text;
  for (const int32_t id : ids) {
    if (const std::string* bytes = impl_->bpe.bytes_of(id)) {
      text += *bytes;
    } else if (const auto added = impl_->added_text.find(id); added != impl_->added_text.end()) {
      text += added->second;
    } else {
      fail(impl_->where, "ids of its vocabulary (size " + std::to_string(impl_->size) + ")",
           "id " + std::to_string(id));
    }
  }
  return text;
}

int64_t Tokenizer::size() const { return impl_->size; }

}  // namespace scute
