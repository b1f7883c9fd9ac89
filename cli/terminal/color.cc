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

// U+FDD0 + tint, and U+FDDF: no characters, for programs' own use. A name that holds them is
// tinted, which is all that they can do.
constexpr const char *kMark = "\xEF\xB7\x90", *kEnd = "\xEF\xB7\x9F";

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
  std::string out = kMark;
  out.back() = static_cast<char>(out.back() + static_cast<int>(tint));
  out += text;
  out += kEnd;
  return stream == stdout ? out : with_escapes(out);
}

std::string with_escapes(std::string text) {
  constexpr std::array<std::string_view, 4> kCodes{"32", "33", "31", "1"};  // in the order of Tint
  std::string out;
  size_t from = 0;
  for (size_t at = 0; (at = text.find("\xEF\xB7", at)) != text.npos; at += 3) {
    const size_t tint =
        at + 2 < text.size() ? static_cast<unsigned char>(text[at + 2]) - 0x90U : 16;
    if (tint >= kCodes.size() && text.compare(at, 3, kEnd) != 0) continue;
    out.append(text, from, at - from);
    out += fmt::format("\x1b[{}m", tint < kCodes.size() ? kCodes[tint] : "0");
    from = at + 3;
  }
  return from == 0 ? text : out.append(text, from);
}

}  // namespace scute::cli
