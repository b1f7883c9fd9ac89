#include "scute/text/added_tokens.h"

#include <algorithm>
#include <tuple>

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
      word_character_(R"([\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\p{Join_Control}])") {
  std::sort(tokens_.begin(), tokens_.end(), [](const AddedToken& a, const AddedToken& b) {
    return std::tie(a.content, a.id) < std::tie(b.content, b.id);
  });
  const auto same = [](const AddedToken& a, const AddedToken& b) { return a.content == b.content; };
  tokens_.erase(std::unique(tokens_.begin(), tokens_.end(), same), tokens_.end());
  for (const AddedToken& token : tokens_) {
    begins_token_[static_cast<unsigned char>(token.content.front())] = true;
  }
}

/// Narrows the sorted tokens to those that begin like the text, byte by byte; a token that is used
/// up sorts before its continuations.
std::optional<size_t> AddedTokens::longest_at(std::string_view text, size_t at) const {
  std::optional<size_t> longest;
  auto first = tokens_.begin(), last = tokens_.end();
  for (size_t depth = 0; first != last; ++depth) {
    if (first->content.size() == depth) {
      longest = static_cast<size_t>(first - tokens_.begin());
      if (++first == last) break;
    }
    if (at + depth == text.size()) break;
    const auto wanted = static_cast<unsigned char>(text[at + depth]);
    const auto byte = [depth](const AddedToken& token) {
      return static_cast<unsigned char>(token.content[depth]);
    };
    first = std::partition_point(first, last, [&](const auto& t) { return byte(t) < wanted; });
    last = std::partition_point(first, last, [&](const auto& t) { return byte(t) == wanted; });
  }
  return longest;
}

std::optional<AddedTokens::Match> AddedTokens::find(std::string_view text, size_t from) const {
  for (size_t at = from; at < text.size(); ++at) {
    if (!begins_token_[static_cast<unsigned char>(text[at])]) continue;
    if (const auto token = longest_at(text, at)) {
      return Match{*token, at, at + tokens_[*token].content.size()};
    }
  }
  return std::nullopt;
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
  while (const auto match = find(text, from)) {
    from = match->end;
    const AddedToken& token = tokens_[match->token];
    if (token.single_word && touches_word(text, *match)) continue;
    const size_t begin = token.lstrip ? space_begin(text, match->begin, done) : match->begin;
    const size_t end = token.rstrip ? spaces.end_from(match->end) : match->end;
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
