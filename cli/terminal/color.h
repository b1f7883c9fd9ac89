// Colours on a terminal: of warnings, errors and what is best.
#pragma once

#include <cstdio>
#include <string>
#include <string_view>

namespace scute::cli {

enum class Tint { good, warning, bad, strong };

/// What --color says, once, before any verb: "auto" (on a terminal, unless NO_COLOR is set in the
/// environment, https://no-color.org), "always" or "never". UsageError for anything else.
void choose_colors(std::string_view when);

/// `text` in this tint where `stream`, stdout or stderr, shows colours; as it is elsewhere. For
/// stdout between marks that Output::write makes escapes of, when all else is escaped.
std::string tinted(std::string_view text, Tint tint, std::FILE* stream);
/// The marks as a terminal's escapes.
std::string with_escapes(std::string text);

}  // namespace scute::cli
