#include "scute/language/gguf/tokenizer.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <map>

#include "scute/base/error.h"
#include "scute/io/file.h"
#include "scute/language/tokenizer_files.h"

namespace scute {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kTokenizerConfigFile = int64_t{16} << 20, kTokenizerFile = int64_t{1} << 28;
/// tokenizer.ggml.token_type.
enum GgufTokenType { kNormal = 1, kUnknown, kControl, kUserDefined, kUnused, kByte };

const Json* gguf_member(const Json* object, const char* key) {
  return object != nullptr && object->is_object() ? object->find(key) : nullptr;
}
std::string gguf_type_of(const Json* object) {
  const Json* type = gguf_member(object, "type");
  return type != nullptr && type->is_string() ? type->as_string("") : "";
}
bool gguf_true(const Json* value) {
  return value != nullptr && value->is_bool() && value->as_bool("");
}

/// Whether `node`, or one of the list under `key`, holds a member of that type.
const Json* find_gguf_step(const Json* node, const char* key, std::string_view type) {
  if (gguf_type_of(node) == type) return node;
  const Json* list = gguf_member(node, key);
  if (list == nullptr || !list->is_array()) return nullptr;
  for (const Json& step : list->as_array("")) {
    if (const Json* found = find_gguf_step(&step, key, type)) return found;
  }
  return nullptr;
}

class GgufTokenizerWriter {
 public:
  GgufTokenizerWriter(const ModelDescription& model, const std::string& file)
      : model_(model),
        where_(file),
        json_(Json::parse(model.files->text(file, kTokenizerFile), file)),
        bpe_(json_.at("model", file)) {}

  GgufTokenizer run() {
    auto tokenizer = load_tokenizer(model_);  // refuses what is no tokenizer
    const Json* cut = gguf_member(&json_, "pre_tokenizer");
    const bool bytes = find_gguf_step(cut, "pretokenizers", "ByteLevel") != nullptr;
    if (gguf_type_of(&bpe_) == "Unigram" ||
        (!bytes && !gguf_true(gguf_member(&bpe_, "byte_fallback")))) {
      out_.keys.emplace_back("tokenizer.ggml.model", std::string("no_vocab"));
      out_.remarks.push_back(
          "its tokenizer is neither byte-level BPE nor BPE with byte_fallback: the file has none");
      return std::move(out_);
    }
    add("model", std::string(bytes ? "gpt2" : "llama"));
    if (bytes) {
      cutting(cut);
    } else {
      add("pre", std::string("default"));
      add("add_space_prefix", prefix());
    }
    tokens();
    bytes ? merges() : scores();
    special(*tokenizer);
    template_of_chats();
    return std::move(out_);
  }

 private:
  template <class T>
  void add(const char* key, T value) {
    out_.keys.emplace_back(fmt::format("tokenizer.ggml.{}", key), GgufValue(std::move(value)));
  }

  void cutting(const Json* cut) {
    std::string name = gguf_pre_tokenizer(*cut, gguf_true(gguf_member(&bpe_, "ignore_merges")));
    if (name.empty()) {
      name = "default";
      out_.remarks.push_back(
          "GGUF has no name for its pre_tokenizer: \"default\" is written, which may cut words "
          "otherwise");
    }
    if (name == "falcon-h1" && merges_digits()) {
      out_.remarks.push_back(
          "its pre_tokenizer cuts numbers into digits; readers of GGUF's falcon-h1 merge up to "
          "three, for which its vocabulary has tokens");
    }
    add("pre", std::move(name));
    if (const Json* level = find_gguf_step(cut, "pretokenizers", "ByteLevel");
        gguf_true(gguf_member(level, "add_prefix_space"))) {
      add("add_space_prefix", true);
    }
    if (const Json* normalizer = gguf_member(&json_, "normalizer");
        normalizer != nullptr && !normalizer->is_null()) {
      out_.remarks.push_back(fmt::format(
          "its normalizer ({}) has no place in GGUF: texts that it would change get other ids",
          gguf_type_of(normalizer)));
    }
  }

  bool merges_digits() const {
    const auto digits = [](const std::string& text) {
      return text.size() > 1 && text.find_first_not_of("0123456789") == text.npos;
    };
    return std::ranges::any_of(bpe_.at("vocab", where_).as_object(where_),
                               [&](const auto& entry) { return digits(entry.first); });
  }

  /// Whether texts begin with a blank that they do not have.
  bool prefix() {
    if (find_gguf_step(gguf_member(&json_, "normalizer"), "normalizers", "Prepend") != nullptr)
      return true;
    const Json* space =
        find_gguf_step(gguf_member(&json_, "pre_tokenizer"), "pretokenizers", "Metaspace");
    if (space == nullptr) return false;
    if (const Json* split = gguf_member(space, "split"); split == nullptr || gguf_true(split)) {
      out_.remarks.emplace_back(
          "its pre_tokenizer cuts at every blank, which readers of GGUF do not: several blanks may "
          "get other ids");
    }
    const Json* scheme = gguf_member(space, "prepend_scheme");
    const Json* old = gguf_member(space, "add_prefix_space");
    const bool adds = scheme != nullptr && scheme->is_string() ? scheme->as_string("") != "never"
                                                               : old == nullptr || gguf_true(old);
    if (adds) {
      out_.remarks.emplace_back(
          "readers of GGUF put a blank before every text, this tokenizer not before one that "
          "begins "
          "with a blank");
    }
    return adds;
  }

  void tokens() {
    const auto rows = static_cast<size_t>(model_.config.vocabulary);
    for (size_t i = 0; i < rows; ++i) texts_.push_back(fmt::format("[PAD{}]", i));
    types_.assign(rows, kUnused);
    const Json* unknown = gguf_member(&bpe_, "unk_token");
    for (const auto& [text, id] : bpe_.at("vocab", where_).as_object(where_)) {
      const bool byte = text.size() == 6 && text.starts_with("<0x") && text.back() == '>';
      const bool none = unknown != nullptr && *unknown == Json(text);
      set(id.as_int(where_), text, none ? kUnknown : byte ? kByte : kNormal);
      ids_.emplace(text, static_cast<int32_t>(id.as_int(where_)));
      if (none) unknown_ = static_cast<uint32_t>(id.as_int(where_));
    }
    const Json* added = gguf_member(&json_, "added_tokens");
    if (added != nullptr && added->is_array()) {
      for (const Json& one : added->as_array(where_)) {
        const int64_t id = one.at("id", where_).as_int(where_);
        if (unknown_ && id == *unknown_) continue;
        set(id, one.at("content", where_).as_string(where_),
            gguf_true(gguf_member(&one, "special")) ? kControl : kUserDefined);
      }
    }
    add("tokens", texts_);
    add("token_type", types_);
  }
  void set(int64_t id, const std::string& text, GgufTokenType type) {
    texts_.at(static_cast<size_t>(id)) = text;
    types_.at(static_cast<size_t>(id)) = type;
  }

  /// Both halves of a merge, "a b" or ["a", "b"].
  std::pair<std::string, std::string> halves(const Json& merge) const {
    if (merge.is_array()) {
      const Json::Array& two = merge.as_array(where_);
      if (two.size() == 2) return {two[0].as_string(where_), two[1].as_string(where_)};
    }
    const std::string& text = merge.as_string(where_);
    const size_t blank = text.find(' ', 1);
    return {text.substr(0, blank), blank == text.npos ? "" : text.substr(blank + 1)};
  }
  void merges() {
    std::vector<std::string> out;
    for (const Json& merge : bpe_.at("merges", where_).as_array(where_)) {
      const auto [left, right] = halves(merge);
      out.push_back(left + " " + right);
    }
    add("merges", std::move(out));
  }
  /// Readers of "llama" merge what has the highest score: that of a token falls with the rank of
  /// the first merge that makes it.
  void scores() {
    std::vector<float> out(texts_.size(), 0.0F);
    std::vector<bool> seen(texts_.size(), false);
    const Json::Array& all = bpe_.at("merges", where_).as_array(where_);
    for (size_t rank = 0; rank < all.size(); ++rank) {
      const auto [left, right] = halves(all[rank]);
      const auto found = ids_.find(left + right);
      if (found == ids_.end() || seen[static_cast<size_t>(found->second)]) continue;
      seen[static_cast<size_t>(found->second)] = true;
      out[static_cast<size_t>(found->second)] = -1 - static_cast<float>(rank);
    }
    add("scores", std::move(out));
  }

  /// An id that config.json names; none without one that is a row.
  std::optional<uint32_t> id_in_config(const char* key) const {
    const Json* given = gguf_member(&model_.json, key);
    if (given == nullptr || !given->is_int()) return std::nullopt;
    const int64_t id = given->as_int("");
    if (id < 0 || id >= model_.config.vocabulary) return std::nullopt;
    return static_cast<uint32_t>(id);
  }
  void special(Tokenizer& tokenizer) {
    tokenizer.use_special_tokens(true);
    const auto before = tokenizer.encode_beginning(""), around = tokenizer.encode("");
    std::optional<uint32_t> first = id_in_config("bos_token_id");
    if (!before.empty()) first = static_cast<uint32_t>(before.front());
    const std::vector<int32_t> ends = end_tokens(model_);
    if (first) add("bos_token_id", *first);
    if (!ends.empty()) add("eos_token_id", static_cast<uint32_t>(ends.front()));
    if (unknown_) add("unknown_token_id", *unknown_);
    if (const auto padding = id_in_config("pad_token_id")) add("padding_token_id", *padding);
    add("add_bos_token", !before.empty());
    add("add_eos_token", around.size() > before.size());
    if (ends.size() > 1) {
      out_.remarks.push_back(fmt::format(
          "it has {} tokens that end a text; GGUF has a key for one, and got the first ({})",
          ends.size(), ends.front()));
    }
    if (before.size() > 1 || around.size() > before.size() + 1) {
      out_.remarks.push_back("it puts several tokens around a text; GGUF has a key for one");
    }
  }

  void template_of_chats() {
    const std::string file = model_.path + "/tokenizer_config.json";
    if (!fs::exists(file)) return;
    const Json json = Json::parse(read_text(file, kTokenizerConfigFile), file);
    const Json* text = gguf_member(&json, "chat_template");
    if (text == nullptr || !text->is_string()) return;
    out_.keys.emplace_back("tokenizer.chat_template", text->as_string(file));
  }

  const ModelDescription& model_;
  std::string where_;
  Json json_;
  const Json& bpe_;
  std::vector<std::string> texts_;
  std::vector<int32_t> types_;
  std::map<std::string, int32_t> ids_;
  std::optional<uint32_t> unknown_;
  GgufTokenizer out_;
};

}  // namespace

GgufTokenizer gguf_tokenizer(const ModelDescription& model) {
  const std::string file = model.path + "/tokenizer.json";
  if (!model.path.empty() && fs::exists(file)) return GgufTokenizerWriter(model, file).run();
  GgufTokenizer out;
  out.keys.emplace_back("tokenizer.ggml.model", std::string("no_vocab"));
  out.remarks.emplace_back("there is no tokenizer.json: readers of the file take ids alone");
  return out;
}

}  // namespace scute
