#include "scute/language/tokenizer_files.h"

#include <fmt/format.h>

#include <filesystem>
#include <limits>

#include "scute/base/error.h"
#include "scute/io/file.h"

namespace scute {

namespace fs = std::filesystem;

namespace {

constexpr int64_t kConfigLimit = int64_t{1} << 20;
constexpr const char* kKey = "eos_token_id";

std::vector<int32_t> token_ids(const Json& value, const std::string& where, int64_t vocabulary) {
  std::vector<int32_t> out;
  const auto add = [&](const Json& id) {
    const int64_t token = id.as_int(where);
    if (token < 0 || token >= vocabulary) {
      fail(where, fmt::format("ids from 0 to {} (--ignore-eos goes on without)", vocabulary - 1),
           fmt::to_string(token));
    }
    out.push_back(static_cast<int32_t>(token));
  };
  if (value.is_array()) {
    for (const Json& id : value.as_array(where)) add(id);
  } else if (!value.is_null()) {
    add(value);
  }
  return out;
}

}  // namespace

void copy_tokenizer(const ModelDescription& model, const FolderWriter& folder,
                    const std::string& part) {
  for (const char* name : {"tokenizer.json", "tokenizer_config.json", "special_tokens_map.json",
                           "generation_config.json"}) {
    const fs::path from = fs::path(model.path) / name;
    if (fs::exists(from)) folder.copy(from.string(), part + name);
  }
}

std::vector<int32_t> end_tokens(const ModelDescription& model) {
  const std::string file = model.path + "/generation_config.json";
  if (fs::exists(file)) {
    const Json json = Json::parse(read_text(file, kConfigLimit), file);
    const Json* own = json.is_object() ? json.find(kKey) : nullptr;
    if (own != nullptr) {
      const auto ids = token_ids(*own, file + ": " + kKey, model.config.vocabulary);
      if (!ids.empty()) return ids;
    }
  }
  const Json* given = model.json.is_object() ? model.json.find(kKey) : nullptr;
  if (given == nullptr) return {};
  return token_ids(*given, model.path + "/config.json: " + kKey, model.config.vocabulary);
}

void check_tokenizer(const ModelDescription& model) {
  ModelDescription of_any_size = model;
  of_any_size.config.vocabulary = std::numeric_limits<int64_t>::max();
  try {
    const auto tokenizer = load_tokenizer(of_any_size);
    if (!tokenizer || tokenizer->size() <= model.config.vocabulary) return;
  } catch (const Error&) {
    return;
  }
  load_tokenizer(model);
}

std::vector<int32_t> stop_tokens(const ModelDescription& model, const Tokenizer& tokenizer) {
  std::vector<int32_t> own = end_tokens(model);
  if (!own.empty()) return own;
  auto ids = tokenizer.encode_beginning(kEndOfText);
  const auto before = tokenizer.encode_beginning("");
  ids.erase(ids.begin(), ids.begin() + static_cast<std::ptrdiff_t>(before.size()));
  const bool known = ids.size() == 1 && tokenizer.decode(ids) == kEndOfText;
  return known ? ids : std::vector<int32_t>{};
}

}  // namespace scute
