#include "cli/terminal/color.h"

#include <fmt/format.h>
#include <unistd.h>

#include <array>
#include <cstdlib>

#include "cli/terminal/options.h"

namespace scute::cli {
namespace {

enum class Colors { automatic, always, never };
// Like the terminal, of the whole program: set once by main().
Colors colors = Colors::automatic;

bool shows_colors(std::FILE* stream) {
  if (colors != Colors::automatic) return colors == Colors::always;
  const char* no = std::getenv("NO_COLOR");
  return (no == nullptr || *no == '\0') && ::isatty(::fileno(stream)) == 1;
}

}  // namespace

void choose_colors(std::string_view when) {
  if (when == "auto") {
    colors = Colors::automatic;
  } else if (when == "always") {
    colors = Colors::always;
  } else if (when == "never") {
    colors = Colors::never;
  } else {
    throw UsageError(fmt::format("--color: expected auto, always or never, found \"{}\"", when));
  }
}

std::string tinted(std::string_view text, Tint tint, std::FILE* stream) {
  if (!shows_colors(stream)) return std::string(text);
  constexpr std::array<std::string_view, 4> kCodes{"32", "33", "31", "1"};  // in the order of Tint
  return fmt::format("\x1b[{}m{}\x1b[0m", kCodes[static_cast<size_t>(tint)], text);
}

}  // namespace scute::cli
