#include "scute/base/json_members.h"

#include <fmt/format.h>

#include <algorithm>
#include <string>

#include "scute/base/error.h"

namespace scute {
namespace {

/// Walks over values, which it takes for what their first character says.
class Outline {
 public:
  Outline(std::string_view text, std::string_view where) : text_(text), where_(where) {}

  size_t position() const { return at_; }
  char peek() {
    at_ = std::min(text_.find_first_not_of(" \t\r\n", at_), text_.size());
    return at_ == text_.size() ? '\0' : text_[at_];
  }
  bool accept(char wanted) {
    if (peek() != wanted) return false;
    ++at_;
    return true;
  }
  void expect(char wanted) {
    if (!accept(wanted)) refuse(fmt::format("no {}", wanted));
  }
  void expect_end() {
    if (peek() != '\0' || at_ != text_.size()) {
      fail(where_, "one JSON value", fmt::format("more behind it at byte {}", at_ + 1));
    }
  }
  std::string_view string() {
    if (peek() != '"') refuse("no \"");
    const size_t begin = at_++;
    while (at_ < text_.size() && text_[at_] != '"') {
      if (static_cast<unsigned char>(text_[at_]) < 0x20) refuse("a control character in a string");
      at_ += text_[at_] == '\\' ? 2 : 1;
    }
    if (at_ >= text_.size()) refuse("the end within a string");
    return text_.substr(begin, ++at_ - begin);
  }
  std::string_view value() {
    peek();
    const size_t begin = at_;
    std::string open;  // of brackets, so that any depth takes bytes and no stack
    do {
      step(open);
    } while (!open.empty());
    return text_.substr(begin, at_ - begin);
  }

 private:
  [[noreturn]] void refuse(std::string_view what) const {
    fail(where_, "valid JSON", fmt::format("a problem at byte {}: {}", at_ + 1, what));
  }
  /// One value that holds no other, or the begin or end of one that does.
  void step(std::string& open) {
    const char c = peek();
    if (c == '{' || c == '[') {
      ++at_;
      open += c == '{' ? '}' : ']';
      if (accept(open.back())) return close(open);
      if (c == '{') key();
      return;
    }
    if (c == '"') {
      string();
    } else {
      word();
    }
    after_value(open);
  }
  void key() {
    string();
    expect(':');
  }
  void close(std::string& open) {
    open.pop_back();
    after_value(open);
  }
  void after_value(std::string& open) {
    while (!open.empty()) {
      if (accept(',')) {
        if (open.back() == '}') {
          peek();
          key();
        }
        return;
      }
      expect(open.back());
      open.pop_back();
    }
  }
  /// A number or a word such as true.
  void word() {
    constexpr std::string_view kCharacters = "+-.0123456789";
    const size_t begin = at_;
    const auto fits = [&](char c) {
      return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
             kCharacters.find(c) != std::string_view::npos;
    };
    while (at_ < text_.size() && fits(text_[at_])) ++at_;
    const std::string_view found = text_.substr(begin, at_ - begin);
    const bool number = found.find_first_of("0123456789") != std::string_view::npos &&
                        found.find_first_not_of("+-.eE0123456789") == std::string_view::npos;
    if (number || found == "true" || found == "false" || found == "null" || found == "NaN" ||
        found == "Infinity" || found == "-Infinity") {
      return;
    }
    at_ = begin;
    refuse(at_ == text_.size() ? "the end where a value is due" : "no value");
  }

  std::string_view text_, where_;
  size_t at_ = 0;
};

/// The kind of value that begins with `first`.
std::string_view kind_by(char first) {
  if (first == '[') return "an array";
  if (first == '"') return "a string";
  if (first == 'n') return "null";
  if (first == 't' || first == 'f') return "true or false";
  return "a number";
}

}  // namespace

Json parse_members(std::string_view text, std::span<const std::string_view> wanted,
                   std::string_view where) {
  Outline in(text, where);
  Json out = Json::object();
  if (const char first = in.peek(); first != '{') {
    in.value();
    in.expect_end();
    fail(where, "an object", kind_by(first));
  }
  in.expect('{');
  if (!in.accept('}')) {
    do {
      const std::string_view raw = in.string();
      in.expect(':');
      const std::string_view value = in.value();
      const std::string_view name = raw.substr(1, raw.size() - 2);
      // A key that is written with escapes is none of ours.
      if (std::ranges::find(wanted, name) == wanted.end()) continue;
      if (out.find(name) != nullptr) {
        fail(where, "each key once in an object", fmt::format("\"{}\" twice", name));
      }
      out.append_member(std::string(name), Json::parse(value, where));
    } while (in.accept(','));
    in.expect('}');
  }
  in.expect_end();
  return out;
}

std::vector<std::string_view> array_values(std::string_view text, std::string_view where) {
  Outline in(text, where);
  std::vector<std::string_view> out;
  in.expect('[');
  if (!in.accept(']')) {
    do {
      out.push_back(in.value());
    } while (in.accept(','));
    in.expect(']');
  }
  in.expect_end();
  return out;
}

}  // namespace scute
