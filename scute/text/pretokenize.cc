#include "scute/text/pretokenize.h"

#include <string>

#include "scute/base/error.h"

namespace scute {
namespace {

/// GPT-2's expression, 's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
/// with two changes that keep its meaning:
/// - \s is written out as Unicode's White_Space, which the original means by it; PCRE2's \s also
///   holds U+180E.
/// - Repeats that are never shortened say so (++), so that no word can exhaust the stack.
std::string word_expression() {
  const std::string spaces =
      R"(\x{9}-\x{d}\x{20}\x{85}\x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f})"
      R"(\x{3000})";
  return R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}++| ?\p{N}++| ?[^)" + spaces + R"(\p{L}\p{N}]++|[)" +
         spaces + "]+(?![^" + spaces + "])|[" + spaces + "]++";
}

}  // namespace

WordSplitter::WordSplitter() : pattern_(word_expression()) {}

void WordSplitter::split(std::string_view text,
                         const std::function<void(std::string_view word)>& word) const {
  Pattern::Search search(pattern_);
  for (size_t at = 0; at < text.size();) {
    const size_t length = search.length_at(text, at).value_or(0);
    // Every character is a letter, a digit, white space or something else, so there is a match.
    if (length == 0) fail("text", "a word at every byte", "none at byte " + std::to_string(at));
    word(text.substr(at, length));
    at += length;
  }
}

}  // namespace scute
