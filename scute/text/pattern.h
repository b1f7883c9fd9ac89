// A regular expression over UTF-8 text.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace scute {

/// Perl syntax; \p{…} and classes follow Unicode. Immutable: may be shared by threads.
class Pattern {
 public:
  /// Error when `expression` does not compile. `written`: how a file writes it and where, when it
  /// is a file's; its (?C1) then count steps, at most 200 of them for each byte of a text (of 1,000
  /// bytes at least), so that its time is bounded. Which places need one: expression.h.
  explicit Pattern(std::string_view expression, std::string written = "");
  Pattern(Pattern&&) noexcept;
  Pattern& operator=(Pattern&&) noexcept;
  ~Pattern();

  /// The memory of one search through one text; one per thread.
  class Search {
   public:
    explicit Search(const Pattern& pattern);
    Search(const Search&) = delete;
    Search& operator=(const Search&) = delete;
    ~Search();

    /// Bytes of the match that begins exactly at text[at]; empty when there is none. `text` is
    /// valid UTF-8 and `at` the begin of a character or its end: neither is checked, so that a
    /// loop over a text stays linear. Error when the engine gives up (no memory) or all searches
    /// of this object together took more steps than the text may cost.
    std::optional<size_t> length_at(std::string_view text, size_t at);

    struct Match {
      size_t begin, end;
    };
    /// The leftmost match that begins at text[at] or behind it; empty when there is none.
    std::optional<Match> next(std::string_view text, size_t at);

   private:
    struct Memory;
    std::optional<Match> match(std::string_view text, size_t at, uint32_t options);
    const Pattern& pattern_;
    std::unique_ptr<Memory> memory_;
  };

 private:
  struct Code;
  std::unique_ptr<Code> code_;
};

}  // namespace scute
