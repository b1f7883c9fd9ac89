// How many columns of a terminal a text takes.
#pragma once

#include <cstddef>
#include <string_view>

namespace scute {

/// 2 for wide characters (Chinese, Japanese, emoji), 0 for those that combine with the one before.
/// `text` without control characters; a bad byte counts as one.
size_t columns_of(std::string_view text);

/// Where the beginning of `text` ends that takes at most `columns`, and where such an end begins;
/// offsets in bytes, never inside a character.
size_t end_of_columns(std::string_view text, size_t columns);
size_t begin_of_columns(std::string_view text, size_t columns);

}  // namespace scute
