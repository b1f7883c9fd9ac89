#include "scute/text/split.h"

#include <fmt/format.h>

#include <array>
#include <utility>

#include "scute/base/error.h"
#include "scute/text/expression.h"
#include "scute/text/utf8.h"

namespace scute {
namespace {

struct Stretch {
  size_t begin, end;
  bool match;
};

/// Takes stretches in order and joins them as the fate wants.
class Joiner {
 public:
  Joiner(MatchFate fate, const MatchSplitter::Piece& piece) : fate_(fate), piece_(piece) {}

  void add(Stretch next) {
    if (fate_ == MatchFate::isolated || (fate_ == MatchFate::removed && !next.match)) {
      emit(next);
    } else if (fate_ != MatchFate::removed) {
      const bool joins = held_ && continues(next);
      if (joins) {
        held_->end = next.end;
      } else {
        flush();
        held_ = next;
      }
      after_match_ = next.match;
    }
  }
  void flush() {
    if (held_) emit(*held_);
    held_.reset();
  }

 private:
  bool continues(const Stretch& next) const {
    if (fate_ == MatchFate::contiguous) return next.match == after_match_;
    if (fate_ == MatchFate::merged_with_previous) return next.match && !after_match_;
    return !next.match && after_match_;
  }
  void emit(const Stretch& stretch) {
    if (stretch.begin < stretch.end) piece_(stretch.begin, stretch.end);
  }

  MatchFate fate_;
  const MatchSplitter::Piece& piece_;
  std::optional<Stretch> held_;
  bool after_match_ = false;
};

}  // namespace

MatchFate parse_match_fate(const Json& name, std::string_view at) {
  constexpr std::array<std::pair<std::string_view, MatchFate>, 5> kFates{
      {{"Isolated", MatchFate::isolated},
       {"Removed", MatchFate::removed},
       {"Contiguous", MatchFate::contiguous},
       {"MergedWithPrevious", MatchFate::merged_with_previous},
       {"MergedWithNext", MatchFate::merged_with_next}}};
  const std::string& word = name.as_string(at);
  for (const auto& [known, fate] : kFates) {
    if (word == known) return fate;
  }
  fail(at, "Isolated, Removed, Contiguous, MergedWithPrevious or MergedWithNext", word);
}

/// For a message in one line.
std::string shortened(std::string_view expression) {
  constexpr size_t kLongest = 60;
  if (expression.size() <= kLongest) return std::string(expression);
  size_t end = kLongest;
  while (end > 0 && (static_cast<unsigned char>(expression[end]) & 0xC0) == 0x80) --end;
  return std::string(expression.substr(0, end)) + "…";
}

std::optional<Pattern> read_pattern(const Json& node, const std::string& at) {
  if (const Json* expression = node.find("Regex")) {
    const std::string& written = expression->as_string(at + ".Regex");
    return Pattern(perl_expression(written, at),
                   fmt::format("{}.Regex {}", at, Json(shortened(written)).dump()));
  }
  const Json& text = node.is_string() ? node : node.at("String", at);
  const std::string& literal = text.as_string(at + ".String");
  if (literal.empty()) return std::nullopt;
  return Pattern(literal_expression(literal));
}

void for_each_match(const Pattern& pattern, std::string_view text,
                    const std::function<void(Pattern::Search::Match)>& match) {
  Pattern::Search search(pattern);
  std::optional<size_t> last_end;
  for (size_t at = 0; at <= text.size();) {
    const auto found = search.next(text, at);
    if (!found) return;
    if (found->begin == found->end && last_end == found->end) {
      at += at < text.size() ? read_code_point(text, at).bytes : 1;
      continue;
    }
    at = found->end;
    last_end = found->end;
    match(*found);
  }
}

void MatchSplitter::split(std::string_view text, const Piece& piece) const {
  Joiner joiner(fate_, piece);
  size_t done = 0;
  const auto add = [&](size_t begin, size_t end, bool match) {
    joiner.add({begin, end, match != invert_});
  };
  if (pattern_) {
    for_each_match(*pattern_, text, [&](Pattern::Search::Match found) {
      if (done != found.begin) add(done, found.begin, false);
      add(found.begin, found.end, true);
      done = found.end;
    });
  }
  if (done != text.size()) add(done, text.size(), false);
  joiner.flush();
}

}  // namespace scute
