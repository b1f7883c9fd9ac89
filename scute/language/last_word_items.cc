#include "scute/language/last_word_items.h"

#include <fmt/format.h>

#include <array>
#include <string_view>

#include "scute/base/error.h"
#include "scute/base/json.h"
#include "scute/data/json_lines.h"
#include "scute/io/file.h"

namespace scute {
namespace {

constexpr std::array<std::string_view, 3> kItemMembers{"text", "ids", "target"};

LastWordItem item_of_ids(const Json& line, const std::string& where) {
  LastWordItem item{{}, line.at("target", where).as_int(where + ": target")};
  item.ids = read_json_ids(line.at("ids", where), where + ": ids");
  return item;
}

void check(const LastWordItem& item, int64_t vocabulary, const std::string& where) {
  const auto length = static_cast<int64_t>(item.ids.size());
  if (item.target < 1 || item.target >= length) {
    fail(where, "at least one context and one target token",
         fmt::format("{} tokens of which {} are the target", length, item.target));
  }
  for (size_t at = 0; at < item.ids.size(); ++at) {
    if (item.ids[at] < 0 || item.ids[at] >= vocabulary) {
      fail(where, fmt::format("token ids below the vocabulary, {}", vocabulary),
           fmt::format("{} at {}", item.ids[at], at));
    }
  }
}

LastWordItem item_of_line(const Json& line, const Tokenizer* tokenizer, const std::string& where) {
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
  LastWordItem item{tokenizer.encode_beginning(text), 0};
  const auto context = tokenizer.encode_beginning(std::string_view(text).substr(0, space));
  item.target = static_cast<int64_t>(item.ids.size()) - static_cast<int64_t>(context.size());
  return item;
}

std::vector<LastWordItem> read_last_word_items(const std::string& file, const Tokenizer* tokenizer,
                                               int64_t vocabulary, std::optional<int64_t> most,
                                               const TextInput& input, BadLines* bad) {
  std::vector<LastWordItem> items;
  BadLines unasked;
  const auto full = [&] { return most && static_cast<int64_t>(items.size()) >= *most; };
  for_each_object(input.files->text(file), file, kItemMembers, is_json_name(file), input,
                  bad == nullptr ? unasked : *bad, [&](const Json& line, const std::string& where) {
                    LastWordItem item = item_of_line(line, tokenizer, where);
                    check(item, vocabulary, where);
                    items.push_back(std::move(item));
                    return !full();
                  });
  if (items.empty()) fail(file, "at least one line with \"text\" or \"ids\"", "none");
  return items;
}

}  // namespace scute
