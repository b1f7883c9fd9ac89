#include "scute/language/last_word_items.h"

#include <fmt/format.h>

#include <algorithm>
#include <string_view>

#include "scute/base/error.h"
#include "scute/base/json.h"
#include "scute/io/file.h"

namespace scute {
namespace {

LastWordItem item_of_ids(const Json& line, const std::string& where) {
  LastWordItem item{{}, line.at("target", where).as_int(where + ": target")};
  for (const Json& id : line.at("ids", where).as_array(where + ": ids")) {
    const int64_t value = id.as_int(where + ": ids");
    if (value < 0 || value > INT32_MAX) {
      fail(where, "token ids from 0 to 2147483647", fmt::format("{}", value));
    }
    item.ids.push_back(static_cast<int32_t>(value));
  }
  return item;
}

void check(const LastWordItem& item, int64_t vocabulary, const std::string& where) {
  const auto length = static_cast<int64_t>(item.ids.size());
  if (item.target < 1 || item.target >= length) {
    fail(where, "at least one context and one target token",
         fmt::format("{} tokens of which {} are the target", length, item.target));
  }
  for (const int32_t id : item.ids) {
    if (id < 0 || id >= vocabulary) {
      fail(where, fmt::format("token ids below the vocabulary, {}", vocabulary),
           fmt::format("{}", id));
    }
  }
}

LastWordItem item_of_line(std::string_view text, const Tokenizer* tokenizer,
                          const std::string& where) {
  const Json line = Json::parse(text, where);
  if (line.find("ids") != nullptr) return item_of_ids(line, where);
  const Json* words = line.find("text");
  if (words == nullptr)
    fail(where, "an object with \"text\", or with \"ids\" and \"target\"", "neither");
  if (tokenizer == nullptr) fail(where, "a tokenizer for \"text\" (--tokenizer FILE)", "none");
  return last_word_item(words->as_string(where + ": text"), *tokenizer, where);
}

}  // namespace

LastWordItem last_word_item(const std::string& text, const Tokenizer& tokenizer,
                            const std::string& where) {
  const size_t space = text.rfind(' ');
  if (space == std::string::npos || space == 0 || space + 1 == text.size()) {
    fail(where, "a text of some words, the last one after a space",
         space == std::string::npos ? "no space"
                                    : (space == 0 ? "nothing before it" : "nothing after it"));
  }
  LastWordItem item{tokenizer.encode(text), 0};
  item.target =
      static_cast<int64_t>(item.ids.size()) -
      static_cast<int64_t>(tokenizer.encode(std::string_view(text).substr(0, space)).size());
  return item;
}

std::vector<LastWordItem> read_last_word_items(const std::string& file, const Tokenizer* tokenizer,
                                               int64_t vocabulary, std::optional<int64_t> most) {
  const std::string all = read_text(file);
  std::vector<LastWordItem> items;
  int64_t number = 0;
  for (size_t at = 0; at < all.size();) {
    const size_t end = std::min(all.find('\n', at), all.size());
    const std::string_view line = std::string_view(all).substr(at, end - at);
    at = end + 1;
    ++number;
    if (line.find_first_not_of(" \t\r") == std::string_view::npos) continue;
    if (most && static_cast<int64_t>(items.size()) == *most) break;
    const std::string where = fmt::format("{}, line {}", file, number);
    items.push_back(item_of_line(line, tokenizer, where));
    check(items.back(), vocabulary, where);
  }
  if (items.empty()) fail(file, "at least one line with \"text\" or \"ids\"", "none");
  return items;
}

}  // namespace scute
