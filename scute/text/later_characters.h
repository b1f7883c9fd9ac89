// Where Debian 12's libraries and the Hugging Face library know different versions of Unicode:
// PCRE2 14 and utf8proc 15 here; 16 in its regular expressions, 17 in its digits and small letters,
// 9 in its normal forms. Its scripts (\p{Han}) of Unicode 15 and 16 are not known here.
#pragma once

#include <string>
#include <string_view>

namespace scute {

/// The characters of Unicode 15 and 16 in a general category ("Lu") or of all that begin with a
/// letter ("L"), for the inside of a character class; "LC" are Lu and Ll. Empty when the category
/// got none or is not known.
std::string later_characters(std::string_view category);

/// The digits and numbers of Unicode 17, likewise.
std::string_view later_numbers();

/// The small letter of a capital that came later; others are returned as they are.
char32_t later_small_letter(char32_t code_point);

/// Whether this character is a mark or stands for others, but not yet in Unicode 9: in normal forms
/// it then stays as and where it is.
bool is_normalized_later(char32_t code_point);

}  // namespace scute
