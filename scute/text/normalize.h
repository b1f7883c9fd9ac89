// Unicode normalization form C, and what else utf8proc knows of characters.
#pragma once

#include <string>
#include <string_view>

namespace scute {

/// `text`, which is valid UTF-8, in form NFC: `text` itself when a glance shows that it is, else a
/// copy in `storage`. Time n·log n at worst, also for long runs of combining marks.
std::string_view nfc(std::string_view text, std::string& storage);

/// Columns that a character takes on a terminal: 2 of wide ones, 0 of those that combine with the
/// one before and of controls, else 1.
int columns_of_character(char32_t code_point);

}  // namespace scute
