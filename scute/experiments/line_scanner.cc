#include "scute/experiments/line_scanner.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

namespace scute {
namespace {

constexpr size_t kDepth = 128;  // as Json::parse

/// Bytes that mean something outside strings when values are skipped: quotes and brackets.
constexpr auto kStructure = [] {
  std::array<bool, 256> out{};
  for (const char c : {'"', '{', '}', '[', ']'}) out[static_cast<unsigned char>(c)] = true;
  return out;
}();

/// Of a number, true, false, null, NaN, Infinity.
bool is_scalar(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
         c == '+' || c == '.';
}

class Scanner {
 public:
  explicit Scanner(std::string_view line) : line_(line) {}

  std::vector<LineMember> members();
  const std::string& problem() const { return problem_; }

 private:
  bool at_end() const { return at_ >= line_.size(); }
  char here() const { return at_end() ? '\0' : line_[at_]; }
  void blanks() {
    while (!at_end() && (line_[at_] == ' ' || line_[at_] == '\t' || line_[at_] == '\r')) ++at_;
  }
  bool take(char c) {
    blanks();
    if (at_end() || line_[at_] != c) return false;
    ++at_;
    return true;
  }
  bool stop(std::string problem) {
    if (problem_.empty()) problem_ = std::move(problem);
    return false;
  }
  bool torn(std::string_view inside) {
    return stop(fmt::format("its end inside {}: torn, as a crash while writing leaves it", inside));
  }
  bool stop_here(std::string_view expected) {
    if (at_end()) return torn("the object");
    return stop(fmt::format("no {} at byte {}", expected, at_ + 1));
  }
  /// Past a string that begins here.
  bool string();
  /// Past an object or array that begins here.
  bool nested();
  bool value();
  bool member(std::vector<LineMember>& members);

  std::string_view line_;
  size_t at_ = 0;
  std::string problem_;
};

bool Scanner::string() {
  ++at_;
  while (!at_end()) {
    const char c = line_[at_++];
    if (c == '"') return true;
    if (c == '\\') ++at_;
  }
  return torn("a string");
}

bool Scanner::nested() {
  std::array<char, kDepth> open{};
  size_t depth = 0;
  do {
    while (!at_end() && !kStructure[static_cast<unsigned char>(line_[at_])]) ++at_;
    const char c = here();
    if (at_end()) return torn("brackets");
    if (c == '"') {
      if (!string()) return false;
      continue;
    }
    if (c == '{' || c == '[') {
      if (depth == kDepth) return stop(fmt::format("nesting deeper than {}", kDepth));
      open[depth++] = c == '{' ? '}' : ']';
    } else if (open[--depth] != c) {
      return stop(fmt::format("\"{}\" at byte {} that closes nothing", c, at_ + 1));
    }
    ++at_;
  } while (depth > 0);
  return true;
}

bool Scanner::value() {
  const char c = here();
  if (c == '"') return string();
  if (c == '{' || c == '[') return nested();
  const size_t begin = at_;
  while (!at_end() && is_scalar(line_[at_])) ++at_;
  if (at_end()) return torn("a value");
  return at_ > begin || stop_here("value");
}

bool Scanner::member(std::vector<LineMember>& members) {
  blanks();
  if (here() != '"') return stop_here("key in quotes");
  const size_t key = at_ + 1;
  if (!string()) return false;
  const std::string_view name = line_.substr(key, at_ - 1 - key);
  if (!take(':')) return stop_here("\":\" after a key");
  blanks();
  const size_t begin = at_;
  if (!value()) return false;
  if (std::ranges::any_of(members, [&](const LineMember& m) { return m.key == name; })) {
    return stop("a key twice");
  }
  members.push_back({name, line_.substr(begin, at_ - begin)});
  return true;
}

std::vector<LineMember> Scanner::members() {
  std::vector<LineMember> out;
  // The mark that some editors put before a file; Json::parse passes over it too.
  constexpr std::string_view kMark = "\xEF\xBB\xBF";
  if (line_.starts_with(kMark)) at_ = kMark.size();
  if (!take('{')) {
    stop("something else");
    return {};
  }
  if (!take('}')) {
    do {
      if (!member(out)) return {};
    } while (take(','));
    if (!take('}')) {
      stop_here("\",\" or \"}\" after a value");
      return {};
    }
  }
  blanks();
  if (!at_end()) {
    stop(fmt::format("more at byte {}, after its end", at_ + 1));
    return {};
  }
  return out;
}

}  // namespace

std::vector<LineMember> scan_line(std::string_view line, std::string& problem) {
  Scanner scanner(line);
  auto members = scanner.members();
  problem = scanner.problem();
  return members;
}

}  // namespace scute
