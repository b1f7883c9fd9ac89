// UTF-8 read one code point at a time, and made valid when it is not.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace scute {

/// One code point and the bytes it takes. Bytes that are no UTF-8 read as U+FFFD with valid false.
struct CodePoint {
  char32_t value;
  size_t bytes;  ///< at least 1
  bool valid;
};

/// The code point at text[at], at < text.size(). A bad sequence takes the bytes that could have
/// begun a character, at least one: what Python's errors="replace" turns into one U+FFFD.
CodePoint read_code_point(std::string_view text, size_t at);
/// The code point that ends right before text[end], 0 < end ≤ text.size(); `text` is valid UTF-8.
CodePoint read_code_point_before(std::string_view text, size_t end);

/// `code_point` is a scalar value: at most U+10FFFF and no surrogate.
void append_utf8(char32_t code_point, std::string& out);

/// `text` itself when it is valid UTF-8; else a copy in `storage`, with one U+FFFD for each bad
/// sequence as Python's bytes.decode(errors="replace") writes them: "\xff\xff" becomes two,
/// a truncated "\xe2\x82" one, the surrogate "\xed\xa0\x80" three.
std::string_view with_valid_utf8(std::string_view text, std::string& storage);

/// Unicode's White_Space property (25 code points, the same since Unicode 6.3).
bool is_white_space(char32_t code_point);

}  // namespace scute
