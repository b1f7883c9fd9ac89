// The alphabet in which byte-level vocabularies are written: one printable character for each byte.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace scute {

/// The bytes a vocabulary entry stands for ("Ġthe" → " the"); empty when it holds a character that
/// is no byte's (special tokens may). Bytes 33–126, 161–172 and 174–255 are written as the
/// character of that number, the 68 others, in order, as U+0100 … U+0143.
std::optional<std::string> bytes_of_token(std::string_view token);

/// The one-character vocabulary entry of a byte.
std::string token_of_byte(uint8_t byte);
/// A word in that alphabet.
std::string token_of_bytes(std::string_view bytes);

}  // namespace scute
