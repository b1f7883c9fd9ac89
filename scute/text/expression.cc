#include "scute/text/expression.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <utility>

#include "scute/base/error.h"
#include "scute/text/pattern.h"
#include "scute/text/utf8.h"

namespace scute {
namespace {

constexpr std::string_view kSpaces =
    R"(\x{9}-\x{d}\x{20}\x{85}\x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f})"
    R"(\x{3000})";
/// All but kSpaces.
constexpr std::string_view kOthers =
    R"(\x{0}-\x{8}\x{e}-\x{1f}\x{21}-\x{84}\x{86}-\x{9f}\x{a1}-\x{167f}\x{1681}-\x{1fff})"
    R"(\x{200b}-\x{2027}\x{202a}-\x{202e}\x{2030}-\x{205e}\x{2060}-\x{2fff}\x{3001}-\x{10ffff})";
/// Oniguruma's \w, which holds the digits and fractions of Latin-1 that are not decimal too.
constexpr std::string_view kWord =
    R"(\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\x{b2}\x{b3}\x{b9}\x{bc}-\x{be})";

/// Reads an expression from left to right and writes it anew.
class Rewriter {
 public:
  Rewriter(std::string_view expression, std::string_view where)
      : text_(expression), where_(where) {}

  std::string rewrite() {
    while (at_ < text_.size()) {
      const char c = text_[at_];
      if (c == '\\') {
        escape();
      } else if (in_class_) {
        member(c);
      } else if (c == '[') {
        open_class();
      } else if (text_.substr(at_).starts_with("(?")) {
        group();
      } else {
        repeat(c);
        copy(1);
      }
    }
    return std::move(out_);
  }

 private:
  [[noreturn]] void refuse(std::string_view what) const {
    fail(where_, "a regular expression in the words that scute knows",
         fmt::format("{} at byte {} of {}", what, at_, text_));
  }
  void copy(size_t bytes) {
    out_ += text_.substr(at_, bytes);
    at_ += bytes;
  }

  void open_class() {
    in_class_ = true;
    copy(1);
    if (text_.substr(at_).starts_with('^')) copy(1);
    if (text_.substr(at_).starts_with(']')) refuse("a class that begins with ]");
  }

  void member(char c) {
    if (c == '[') refuse("a class in a class");
    if (text_.substr(at_).starts_with("&&")) refuse("&&");
    if (c == ']') in_class_ = false;
    copy(1);
  }

  /// Ruby reads a{1,3}+ as a repeat of a repeat, Perl as one that gives nothing back.
  void repeat(char c) {
    if (c == '}' && text_.substr(at_ + 1).starts_with('+')) refuse("}+");
    // Ruby's ^ and $ are those of lines; Perl's of the text.
    if (c == '^' || c == '$') refuse(std::string_view(&c, 1));
  }

  void group() {
    constexpr std::array<std::string_view, 7> kKnown{"(?:",  "(?=",  "(?!", "(?>",
                                                     "(?<=", "(?<!", "(?i:"};
    for (const std::string_view known : kKnown) {
      if (text_.substr(at_).starts_with(known)) return copy(known.size());
    }
    // At the very begin an option means the same in both.
    if (at_ == 0 && text_.starts_with("(?i)")) return copy(4);
    refuse(text_.substr(at_, 4));
  }

  void set(std::string_view members, std::string_view others) {
    if (in_class_) {
      if (others.empty()) refuse(text_.substr(at_, 2));
      out_ += members;
    } else {
      out_ += fmt::format("[{}]", members);
    }
    at_ += 2;
  }

  void escape() {
    if (at_ + 1 == text_.size()) refuse("\\");
    const char c = text_[at_ + 1];
    if (c == 's') return set(kSpaces, kOthers);
    if (c == 'S') return set(kOthers, kSpaces);
    if (c == 'w') return set(kWord, kWord);
    if (c == 'W' && !in_class_) {
      out_ += fmt::format("[^{}]", kWord);
      at_ += 2;
      return;
    }
    if (c == 'u') return code_point();
    const bool letter = std::isalnum(static_cast<unsigned char>(c)) != 0;
    constexpr std::string_view kSame = "pPdDrntfax";
    if (letter && kSame.find(c) == std::string_view::npos) refuse(text_.substr(at_, 2));
    copy(2);
    if (c == 'p' || c == 'P' || c == 'x') in_braces(c != 'x');
  }

  /// The braces of \p{L} and \x{3000} are no repeat.
  void in_braces(bool property) {
    if (!text_.substr(at_).starts_with('{')) return;
    const size_t end = text_.find('}', at_);
    if (end == std::string_view::npos) refuse("a { without its }");
    const std::string_view name = text_.substr(at_ + 1, end - at_ - 1);
    // By a script Perl means also the signs that it shares with others, Oniguruma does not.
    if (property && is_script(name)) {
      out_ += fmt::format("{{sc:{}}}", name);
      at_ = end + 1;
    } else {
      copy(end + 1 - at_);
    }
  }

  static bool is_script(std::string_view name) {
    if (name.size() < 3) return false;  // L, Lu: general categories
    try {
      const Pattern known(fmt::format("\\p{{sc:{}}}", name));
      return true;
    } catch (const Error&) {
      return false;
    }
  }

  /// \uHHHH
  void code_point() {
    const std::string_view digits = text_.substr(at_ + 2, 4);
    const bool hex = digits.size() == 4 && std::ranges::all_of(digits, [](char d) {
                       return std::isxdigit(static_cast<unsigned char>(d)) != 0;
                     });
    if (!hex) refuse("\\u");
    out_ += fmt::format("\\x{{{}}}", digits);
    at_ += 6;
  }

  std::string_view text_, where_;
  std::string out_;
  size_t at_ = 0;
  bool in_class_ = false;
};

}  // namespace

std::string_view white_space_class() { return kSpaces; }

std::string perl_expression(std::string_view expression, std::string_view where) {
  return Rewriter(expression, where).rewrite();
}

std::string literal_expression(std::string_view text) {
  std::string out;
  for (size_t at = 0; at < text.size();) {
    const CodePoint next = read_code_point(text, at);
    out += fmt::format("\\x{{{:x}}}", static_cast<uint32_t>(next.value));
    at += next.bytes;
  }
  return out;
}

}  // namespace scute
