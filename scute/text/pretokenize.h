// Text cut into the words inside which byte pairs may merge.
#pragma once

#include <functional>
#include <string_view>

#include "scute/text/pattern.h"

namespace scute {

/// GPT-2's words: an English contraction, letters, digits or other signs with at most one blank
/// before them, or white space.
class WordSplitter {
 public:
  WordSplitter();

  /// Calls word() for each word of `text` (valid UTF-8), in order; together they are the text.
  /// Linear in the text. Error when the regular expression engine gives up.
  void split(std::string_view text, const std::function<void(std::string_view word)>& word) const;

 private:
  Pattern pattern_;
};

}  // namespace scute
