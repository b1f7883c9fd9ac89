// Tokens found in the text itself, before it is cut into words: <|endoftext|>, runs of blanks, …
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "scute/text/pattern.h"
#include "scute/text/token_finder.h"

namespace scute {

struct AddedToken {
  std::string content;
  int32_t id;
  bool normalized;   ///< looked for in the normalized text, else in the raw text before
  bool single_word;  ///< only where no word character touches it
  bool lstrip;       ///< takes the white space on its left too
  bool rstrip;       ///< takes the white space on its right too
};

/// A stretch of text: a token, or text that is still to be encoded.
struct TextPiece {
  std::string_view text;
  std::optional<int32_t> id;
};

class AddedTokens {
 public:
  /// Contents are not empty. Of two tokens with equal contents the one with the lower id is kept.
  explicit AddedTokens(std::vector<AddedToken> tokens);

  /// Cuts `text` (valid UTF-8) at the tokens in it: leftmost first, the longest of those that begin
  /// there. A token that is refused for touching a word hides shorter ones in it, as in the Hugging
  /// Face library. Time and memory grow with the text, whatever the tokens are.
  std::vector<TextPiece> split(std::string_view text) const;

 private:
  struct Match {
    size_t token;
    size_t begin, end;
  };
  bool touches_word(std::string_view text, const Match& match) const;

  std::vector<AddedToken> tokens_;
  TokenFinder finder_;  ///< of their contents
  Pattern word_character_;
};

}  // namespace scute
