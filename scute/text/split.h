// Text cut at the matches of a regular expression.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "scute/base/json.h"
#include "scute/text/pattern.h"

namespace scute {

/// What becomes of a match.
enum class MatchFate { isolated, removed, contiguous, merged_with_previous, merged_with_next };

/// "Isolated", "Removed", …; Error naming `at` and the known ones.
MatchFate parse_match_fate(const Json& name, std::string_view at);

/// {"String": …} or {"Regex": …}, or a bare string, which is literal; empty for the empty string,
/// which matches nothing.
std::optional<Pattern> read_pattern(const Json& node, const std::string& at);

class MatchSplitter {
 public:
  /// Without a pattern nothing matches. `invert`: what lies between matches counts as match.
  MatchSplitter(std::optional<Pattern> pattern, MatchFate fate, bool invert)
      : pattern_(std::move(pattern)), fate_(fate), invert_(invert) {}

  using Piece = std::function<void(size_t begin, size_t end)>;
  /// The pieces of `text` (valid UTF-8) in order; none is empty.
  void split(std::string_view text, const Piece& piece) const;

 private:
  std::optional<Pattern> pattern_;
  MatchFate fate_;
  bool invert_;
};

/// The matches of `pattern` in `text`, as Oniguruma's find_iter gives them: an empty one right
/// behind another is none.
void for_each_match(const Pattern& pattern, std::string_view text,
                    const std::function<void(Pattern::Search::Match)>& match);

}  // namespace scute
