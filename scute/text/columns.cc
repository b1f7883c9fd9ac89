#include "scute/text/columns.h"

#include "scute/text/normalize.h"
#include "scute/text/utf8.h"

namespace scute {
namespace {

size_t width_of(const CodePoint& next) {
  // Not assigned for ever, for a program's own use: utf8proc counts them as one.
  if (next.value >= 0xFDD0 && next.value <= 0xFDEF) return 0;
  if (!next.valid) return 1;
  return static_cast<size_t>(columns_of_character(next.value));
}

}  // namespace

size_t columns_of(std::string_view text) {
  size_t out = 0;
  for (size_t at = 0; at < text.size();) {
    const CodePoint next = read_code_point(text, at);
    out += width_of(next);
    at += next.bytes;
  }
  return out;
}

size_t end_of_columns(std::string_view text, size_t columns) {
  size_t at = 0;
  for (size_t taken = 0; at < text.size();) {
    const CodePoint next = read_code_point(text, at);
    taken += width_of(next);
    if (taken > columns) break;
    at += next.bytes;
  }
  return at;
}

size_t begin_of_columns(std::string_view text, size_t columns) {
  size_t at = 0;
  for (size_t left = columns_of(text); left > columns;) {
    const CodePoint next = read_code_point(text, at);
    left -= width_of(next);
    at += next.bytes;
  }
  return at;
}

}  // namespace scute
