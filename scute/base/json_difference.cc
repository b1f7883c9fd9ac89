#include "scute/base/json_difference.h"

#include <algorithm>
#include <cstddef>

namespace scute {
namespace {

std::string text_of(const Json* value) {
  if (value == nullptr) return "none";
  return value->is_string() ? value->as_string("") : value->dump();
}

/// At most some words of it from `begin` on; no character of UTF-8 is cut in two.
std::string shortened(const std::string& text, size_t begin) {
  constexpr size_t kWhole = 40, kShown = 20;
  if (text.size() <= kWhole) return text;
  const auto inside = [&](size_t at) {
    return at < text.size() && (static_cast<unsigned char>(text[at]) & 0xC0) == 0x80;
  };
  size_t end = std::min(begin + kShown, text.size());
  while (end > begin && inside(end)) --end;
  return (begin > 0 ? "…" : "") + text.substr(begin, end - begin) + (end < text.size() ? "…" : "");
}

/// Where they begin to differ: the beginning of the word, or of the member.
size_t first_difference(const std::string& a, const std::string& b) {
  size_t at = 0;
  while (at < a.size() && at < b.size() && a[at] == b[at]) ++at;
  const size_t blank = a.find_last_of(" ,", at);
  return at == 0 || blank == std::string::npos ? 0 : blank + 1;
}

std::string pair_text(const Json* found, const Json* expected) {
  const std::string a = text_of(found), b = text_of(expected);
  const size_t begin = first_difference(a, b);
  return shortened(a, std::min(begin, a.size())) + ", not " +
         shortened(b, std::min(begin, b.size()));
}

}  // namespace

std::string difference_text(const Json& found, const Json& expected) {
  if (found == expected) return "";
  if (!found.is_object() || !expected.is_object()) return pair_text(&found, &expected);
  std::string out;
  const auto add = [&](const std::string& key, const Json* a, const Json* b) {
    if (!out.empty()) out += "; ";
    out += key + " " + pair_text(a, b);
  };
  for (const auto& [key, value] : found.as_object("")) {
    const Json* other = expected.find(key);
    if (other == nullptr || *other != value) add(key, &value, other);
  }
  for (const auto& [key, value] : expected.as_object("")) {
    if (found.find(key) == nullptr) add(key, nullptr, &value);
  }
  return out;
}

}  // namespace scute
