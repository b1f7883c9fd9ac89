// Text in tables that other programs read.
#pragma once

#include <string>
#include <string_view>

namespace scute {

/// Whether a spreadsheet that opens or is given the text would compute it: it begins with = + - @,
/// a tab or an end of line, and is neither a number nor the lone hyphen that stands for none.
bool is_formula(std::string_view text);

/// One field of CSV (RFC 4180), as text: in quotes where it must be, quotes doubled; a formula gets
/// a leading apostrophe, which makes it text. Numbers are written without this.
std::string csv_text(std::string_view text);

}  // namespace scute
