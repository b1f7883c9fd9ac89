// Text that arrives byte by byte, handed on character by character.
#pragma once

#include <string>
#include <string_view>

namespace scute::cli {

/// A token may end in the middle of a character. What is given out is always whole UTF-8
/// characters; bytes that can no longer become one are U+FFFD, as Python's errors="replace" has it.
class CharacterStream {
 public:
  /// The characters that `bytes` complete.
  std::string add(std::string_view bytes);
  /// What was held back, now that nothing follows: "" or one U+FFFD.
  std::string finish();

 private:
  std::string held_;  ///< the beginning of a character, at most 3 bytes
};

}  // namespace scute::cli
