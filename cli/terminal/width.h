// How wide what is printed may be: 80 columns, on a terminal and in a pipe, or with --wide as wide
// as it is.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace scute::cli {

constexpr size_t kColumns = 80;

/// What --wide says, once, before any verb.
void choose_width(bool wide);
bool is_wide();

/// Lines longer than kColumns are broken at blanks unless wide, and go on below where their words
/// begin, behind a label as in "model      NAME, …". A command line goes on behind a backslash, so
/// that it can be pasted. A word that is too long is broken behind a comma, else stays whole.
std::string fitted(std::string_view words);

}  // namespace scute::cli
