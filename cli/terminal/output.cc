#include "cli/terminal/output.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <system_error>

#include "cli/terminal/color.h"
#include "cli/terminal/width.h"
#include "cli/terminal/words.h"
#include "scute/base/error.h"

namespace scute::cli {

void Output::write(std::string_view words) { put(with_escapes(fitted(printable_lines(words)))); }

void Output::write_lines(std::string_view lines) { put(printable_lines(lines)); }

void Output::write_verbatim(std::string_view text) {
  const bool terminal = to_ == To::standard_output && ::isatty(STDOUT_FILENO) == 1;
  if (terminal) return write_lines(text);
  put(text);
}

void Output::put(std::string_view words) {
  if (to_ == To::text) {
    text_.append(words);
    return;
  }
  if (failure_ != 0) return;
  if (std::fwrite(words.data(), 1, words.size(), stdout) != words.size()) failure_ = errno;
}

void Output::write_json(const Json& json) {
  // JSON escapes the first 32 characters itself; DEL and the second set stand in strings alone.
  std::string out;
  const std::string text = json.dump(1);
  for (size_t i = 0; i < text.size(); ++i) {
    const auto c = static_cast<unsigned char>(text[i]);
    const bool second = c == 0xC2 && static_cast<unsigned char>(text[i + 1]) < 0xA0;
    if (c != 0x7F && !second) {
      out += text[i];
      continue;
    }
    if (second) ++i;
    out += fmt::format("\\u{:04x}", static_cast<unsigned char>(text[i]));
  }
  put(out + "\n");
}

void Output::finish() {
  if (to_ == To::text) return;
  if (failure_ == 0 && std::fflush(stdout) != 0) failure_ = errno;
  if (failure_ == 0 || failure_ == EPIPE) return;
  fail("standard output", "room to write", std::generic_category().message(failure_));
}

Json array_of(const std::vector<std::string>& words) {
  Json out = Json::array();
  for (const std::string& word : words) out.push_back(word);
  return out;
}

}  // namespace scute::cli
