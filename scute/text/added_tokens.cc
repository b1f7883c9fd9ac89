#include "scute/text/added_tokens.h"

#include <algorithm>
#include <tuple>

#include "scute/text/later_characters.h"
#include "scute/text/utf8.h"

namespace scute {
namespace {

/// The end of the white space that begins at text[at]. Remembers the last run it saw, because a
/// token made of white space asks again and again within one run.
class SpaceRun {
 public:
  explicit SpaceRun(std::string_view text) : text_(text) {}

  size_t end_from(size_t at) {
    if (at >= begin_ && at <= end_) return end_;
    begin_ = end_ = at;
    while (end_ < text_.size()) {
      const CodePoint next = read_code_point(text_, end_);
      if (!is_white_space(next.value)) break;
      end_ += next.bytes;
    }
    return end_;
  }

 private:
  std::string_view text_;
  size_t begin_ = 1, end_ = 0;
};

/// The begin of the white space that ends at `end`, at least `floor`.
size_t space_begin(std::string_view text, size_t end, size_t floor) {
  while (end > floor) {
    const CodePoint last = read_code_point_before(text, end);
    if (!is_white_space(last.value)) break;
    end -= last.bytes;
  }
  return std::max(end, floor);
}

}  // namespace

AddedTokens::AddedTokens(std::vector<AddedToken> tokens)
    : tokens_(std::move(tokens)),
      // What Rust's regular expressions mean by \w (UTS 18, annex C).
      word_character_(R"([\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\p{Join_Control})" +
                      later_characters("L") + later_characters("M") + later_characters("Nd") +
                      "]") {
  std::sort(tokens_.begin(), tokens_.end(), [](const AddedToken& a, const AddedToken& b) {
    return std::tie(a.content, a.id) < std::tie(b.content, b.id);
  });
  const auto same = [](const AddedToken& a, const AddedToken& b) { return a.content == b.content; };
  tokens_.erase(std::unique(tokens_.begin(), tokens_.end(), same), tokens_.end());
  std::vector<std::string_view> contents;
  for (const AddedToken& token : tokens_) contents.push_back(token.content);
  finder_ = TokenFinder(contents);
}

bool AddedTokens::touches_word(std::string_view text, const Match& match) const {
  Pattern::Search word(word_character_);
  const bool before =
      match.begin > 0 &&
      word.length_at(text, match.begin - read_code_point_before(text, match.begin).bytes);
  return before || word.length_at(text, match.end).has_value();
}

std::vector<TextPiece> AddedTokens::split(std::string_view text) const {
  std::vector<TextPiece> pieces;
  SpaceRun spaces(text);
  size_t done = 0;  // everything before is in a piece
  const auto cut = [&](size_t begin, size_t end, std::optional<int32_t> id) {
    if (begin < end) pieces.push_back({text.substr(begin, end - begin), id});
  };
  size_t from = 0;
  const std::vector<TokenFinder::Found> all = finder_.find(text);
  for (auto found = all.rbegin(); found != all.rend(); ++found) {
    if (found->begin < from) continue;
    const AddedToken& token = tokens_[found->token];
    const Match match{found->token, found->begin, found->begin + token.content.size()};
    from = match.end;
    if (token.single_word && touches_word(text, match)) continue;
    const size_t begin = token.lstrip ? space_begin(text, match.begin, done) : match.begin;
    const size_t end = token.rstrip ? spaces.end_from(match.end) : match.end;
    // All of it went to an earlier rstrip token already (the Hugging Face library panics when that
    // one took more than this one's end).
    if (begin >= end) continue;
    cut(done, begin, std::nullopt);
    cut(begin, end, token.id);
    done = end;
  }
  cut(done, text.size(), std::nullopt);
  return pieces;
}

}  // namespace scute
