#include "scute/base/json_difference.h"

#include <algorithm>
#include <cstddef>

namespace scute {
namespace {

constexpr size_t kWhole = 40, kShown = 20;  // of a value: bytes that are shown

std::string text_of(const Json* value) {
  if (value == nullptr) return "none";
  return value->is_string() && !value->as_string("").empty() ? value->as_string("") : value->dump();
}

/// Whether the byte there goes on with a character of UTF-8.
bool goes_on(const std::string& text, size_t at) {
  return at < text.size() && (static_cast<unsigned char>(text[at]) & 0xC0) == 0x80;
}

/// At most some words of it from `begin` on; no character of UTF-8 is cut in two.
std::string shortened(const std::string& text, size_t begin) {
  if (text.size() <= kWhole) return text;
  size_t end = std::min(begin + kShown, text.size());
  while (end > begin && goes_on(text, end)) --end;
  return (begin > 0 ? "…" : "") + text.substr(begin, end - begin) + (end < text.size() ? "…" : "");
}

/// From where to show them: the beginning of the word or the member in which they begin to differ,
/// or, where that is so far before it that both would be shown alike, a little before it.
size_t first_difference(const std::string& a, const std::string& b) {
  size_t at = 0;
  while (at < a.size() && at < b.size() && a[at] == b[at]) ++at;
  const size_t blank = at == 0 ? std::string::npos : a.find_last_of(" ,", at - 1);
  const size_t begin = blank == std::string::npos ? 0 : blank + 1;
  if (at - begin < kShown / 2) return begin;
  size_t near = at - kShown / 4;
  while (near > begin && goes_on(a, near)) --near;
  return near;
}

std::string pair_text(const Json* found, const Json* expected) {
  std::string a = text_of(found), b = text_of(expected);
  // A text and what is none may look alike: "8" and 8, "none" and none.
  if (a == b && found != nullptr) a = found->dump();
  if (text_of(found) == b && expected != nullptr) b = expected->dump();
  const size_t begin = first_difference(a, b);
  const auto from = [&](const std::string& text) {
    return shortened(text, begin < text.size() ? begin : 0);
  };
  return from(a) + ", not " + from(b);
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
