#include "scute/text/expression.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <utility>
#include <vector>

#include "scute/base/error.h"
#include "scute/text/later_characters.h"
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
std::string word_class() {
  return R"(\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\x{b2}\x{b3}\x{b9}\x{bc}-\x{be})" +
         later_characters("L") + later_characters("M") + later_characters("Nd");
}
std::string digit_class() { return R"(\p{Nd})" + later_characters("Nd"); }

/// Where nothing but a count of steps happens (Pattern::bounded).
constexpr std::string_view kCount = "(?C1)";

/// General categories by their long names, as Oniguruma compares them, and by what PCRE2 knows.
struct CategoryName {
  std::string_view name, category;
};
constexpr CategoryName kCategoryNames[] = {
    {"letter", "L"},
    {"casedletter", "LC"},
    {"uppercaseletter", "Lu"},
    {"lowercaseletter", "Ll"},
    {"titlecaseletter", "Lt"},
    {"modifierletter", "Lm"},
    {"otherletter", "Lo"},
    {"mark", "M"},
    {"combiningmark", "M"},
    {"nonspacingmark", "Mn"},
    {"spacingmark", "Mc"},
    {"enclosingmark", "Me"},
    {"number", "N"},
    {"decimalnumber", "Nd"},
    {"digit", "Nd"},
    {"letternumber", "Nl"},
    {"othernumber", "No"},
    {"punctuation", "P"},
    {"punct", "P"},
    {"connectorpunctuation", "Pc"},
    {"dashpunctuation", "Pd"},
    {"openpunctuation", "Ps"},
    {"closepunctuation", "Pe"},
    {"initialpunctuation", "Pi"},
    {"finalpunctuation", "Pf"},
    {"otherpunctuation", "Po"},
    {"symbol", "S"},
    {"mathsymbol", "Sm"},
    {"currencysymbol", "Sc"},
    {"modifiersymbol", "Sk"},
    {"othersymbol", "So"},
    {"separator", "Z"},
    {"spaceseparator", "Zs"},
    {"lineseparator", "Zl"},
    {"paragraphseparator", "Zp"},
};

/// The general category that a property's name means, as PCRE2 writes it; empty for other names.
std::string category_of(std::string_view name) {
  std::string plain;
  for (const char c : name) {
    if (c == ' ' || c == '-' || c == '_') continue;
    plain += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  }
  for (const auto& [known, category] : kCategoryNames) {
    std::string lower(category);
    std::ranges::transform(lower, lower.begin(), [](char c) {
      return static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    });
    if (plain == known || plain == lower) return std::string(category);
  }
  return "";
}

bool is_digit(char c) { return c >= '0' && c <= '9'; }

/// Whether what stands before text[at] is repeated: *, +, ?, {3}, {1,3}.
bool repeats_at(std::string_view text, size_t at) {
  if (at >= text.size()) return false;
  if (text[at] == '{') return at + 1 < text.size() && is_digit(text[at + 1]);
  return text[at] == '*' || text[at] == '+' || text[at] == '?';
}

/// Which of the groups of an expression, counted as they open, are repeated; ascending.
std::vector<size_t> repeated_groups(std::string_view text) {
  std::vector<size_t> open, out;
  size_t groups = 0;
  bool in_class = false;
  for (size_t at = 0; at < text.size(); ++at) {
    const char c = text[at];
    if (c == '\\') {
      ++at;
    } else if (in_class) {
      in_class = c != ']';
    } else if (c == '[') {
      in_class = true;
    } else if (c == '(') {
      open.push_back(groups++);
    } else if (c == ')' && !open.empty()) {
      if (repeats_at(text, at + 1)) out.push_back(open.back());
      open.pop_back();
    }
  }
  std::ranges::sort(out);
  return out;
}

/// Reads an expression from left to right and writes it anew.
class Rewriter {
 public:
  Rewriter(std::string_view expression, std::string_view where)
      : text_(expression), where_(where), repeated_(repeated_groups(expression)) {}

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
      } else if (c == '(') {
        copy(1);
        begin_group();
      } else {
        repeat(c);
      }
    }
    return std::move(out_);
  }

 private:
  /// What can repeat is counted: where a repeat ends, and each time a repeated group begins.
  void begin_group() {
    if (std::ranges::binary_search(repeated_, groups_++)) out_ += kCount;
  }

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

  void repeat(char c) {
    // Ruby reads a{1,3}+ as a repeat of a repeat, Perl as one that gives nothing back.
    if (c == '}' && text_.substr(at_ + 1).starts_with('+')) refuse("}+");
    // Ruby's ^ and $ are those of lines; Perl's of the text.
    if (c == '^' || c == '$') refuse(std::string_view(&c, 1));
    // {,3} is 0 to 3 in Ruby and four signs in Perl.
    if (text_.substr(at_).starts_with("{,")) refuse("{,");
    // a{3}? is three or none in Ruby, three in Perl.
    if (c == '}' && text_.substr(at_ + 1).starts_with('?') && is_exact_repeat()) refuse("}?");
    copy(1);
    if (c != '*' && c != '+' && c != '?' && c != '}') return;
    if (at_ < text_.size() && (text_[at_] == '?' || text_[at_] == '+')) copy(1);
    if (repeats_at(text_, at_)) refuse("a repeat of a repeat");
    out_ += kCount;
  }

  /// Whether the } at the place that was reached ends a repeat with one number.
  bool is_exact_repeat() const {
    const size_t open = text_.substr(0, at_).rfind('{');
    return open != std::string_view::npos &&
           std::ranges::all_of(text_.substr(open + 1, at_ - open - 1), is_digit);
  }

  void group() {
    constexpr std::array<std::string_view, 7> kKnown{"(?:",  "(?=",  "(?!", "(?>",
                                                     "(?<=", "(?<!", "(?i:"};
    for (const std::string_view known : kKnown) {
      if (!text_.substr(at_).starts_with(known)) continue;
      copy(known.size());
      return begin_group();
    }
    // At the very begin an option means the same in both.
    if (at_ == 0 && text_.starts_with("(?i)")) {
      ++groups_;
      return copy(4);
    }
    refuse(text_.substr(at_, 4));
  }

  void set(std::string_view members) {
    out_ += in_class_ ? std::string(members) : fmt::format("[{}]", members);
    at_ += 2;
  }
  /// Outside a class.
  void complement(std::string_view members) {
    out_ += fmt::format("[^{}]", members);
    at_ += 2;
  }

  void escape() {
    if (at_ + 1 == text_.size()) refuse("\\");
    const char c = text_[at_ + 1];
    if (c == 'd') return set(digit_class());
    if (c == 's') return set(kSpaces);
    if (c == 'S') return set(kOthers);
    if (c == 'w') return set(word_class());
    if (c == 'D' && !in_class_) return complement(digit_class());
    if (c == 'W' && !in_class_) return complement(word_class());
    if (c == 'u') return code_point();
    if (c == 'p' || c == 'P') return property();
    const bool letter = std::isalnum(static_cast<unsigned char>(c)) != 0;
    constexpr std::string_view kSame = "Drntfax";
    if (letter && kSame.find(c) == std::string_view::npos) refuse(text_.substr(at_, 2));
    copy(2);
    // The braces of \x{3000} are no repeat.
    if (c == 'x' && text_.substr(at_).starts_with('{')) copy(braces().size());
  }

  /// "{…}" at the place that was reached.
  std::string_view braces() const {
    const size_t end = text_.find('}', at_);
    if (end == std::string_view::npos) refuse("a { without its }");
    return text_.substr(at_, end + 1 - at_);
  }

  /// \p{…} or \P{…}, or with ^ inside.
  void property() {
    bool others = text_[at_ + 1] == 'P';
    // Oniguruma reads \pL as the letters p and L.
    if (!text_.substr(at_ + 2).starts_with('{')) refuse(text_.substr(at_, 3));
    at_ += 2;
    const std::string_view written = braces();
    std::string_view name = written.substr(1, written.size() - 2);
    if (name.starts_with('^')) {
      others = !others;
      name.remove_prefix(1);
    }
    const std::string category = category_of(name);
    const std::string later = later_characters(category);
    if (!later.empty() && !(in_class_ && others)) {
      const std::string members = fmt::format("\\p{{{}}}{}", category, later);
      out_ += in_class_ ? members : fmt::format("[{}{}]", others ? "^" : "", members);
    } else {
      // By a script Perl means also the signs that it shares with others, Oniguruma does not.
      const std::string_view script = category.empty() && is_script(name) ? "sc:" : "";
      out_ += fmt::format("\\{}{{{}{}}}", others ? 'P' : 'p', script,
                          category.empty() ? name : category);
    }
    at_ += written.size();
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
  std::vector<size_t> repeated_;
  size_t groups_ = 0;  ///< opened so far
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
