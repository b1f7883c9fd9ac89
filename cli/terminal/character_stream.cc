#include "cli/terminal/character_stream.h"

#include "scute/text/utf8.h"

namespace scute::cli {
namespace {

/// Whether more bytes could make a character of what begins at text[at] and is none yet.
bool is_unfinished(std::string_view text, size_t at, const CodePoint& found) {
  const auto lead = static_cast<unsigned char>(text[at]);
  // 0x80 … 0xC1 and 0xF5 … 0xFF begin no character.
  return !found.valid && at + found.bytes == text.size() && lead >= 0xC2 && lead <= 0xF4;
}

}  // namespace

std::string CharacterStream::add(std::string_view bytes) {
  held_ += bytes;
  size_t at = 0;
  while (at < held_.size()) {
    const CodePoint next = read_code_point(held_, at);
    if (is_unfinished(held_, at, next)) break;
    at += next.bytes;
  }
  std::string storage;
  std::string out(with_valid_utf8(std::string_view(held_).substr(0, at), storage));
  held_.erase(0, at);
  return out;
}

std::string CharacterStream::finish() {
  std::string storage;
  std::string out(with_valid_utf8(held_, storage));
  held_.clear();
  return out;
}

}  // namespace scute::cli
