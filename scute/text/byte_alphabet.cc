#include "scute/text/byte_alphabet.h"

#include <array>

#include "scute/text/utf8.h"

namespace scute {
namespace {

constexpr int kCharacters = 256 + 68;

constexpr bool is_itself(int byte) {
  return (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
}

struct Alphabet {
  std::array<char16_t, 256> character{};
  std::array<int16_t, kCharacters> byte{};  ///< −1: no byte's character
};

constexpr Alphabet make_alphabet() {
  Alphabet alphabet;
  for (auto& byte : alphabet.byte) byte = -1;
  int next = 256;
  for (int byte = 0; byte < 256; ++byte) {
    const int character = is_itself(byte) ? byte : next++;
    alphabet.character[static_cast<size_t>(byte)] = static_cast<char16_t>(character);
    alphabet.byte[static_cast<size_t>(character)] = static_cast<int16_t>(byte);
  }
  return alphabet;
}

constexpr Alphabet kAlphabet = make_alphabet();

}  // namespace

std::optional<std::string> bytes_of_token(std::string_view token) {
  std::string bytes;
  bytes.reserve(token.size());
  for (size_t at = 0; at < token.size();) {
    const CodePoint next = read_code_point(token, at);
    if (!next.valid || next.value >= kCharacters) return std::nullopt;
    const int16_t byte = kAlphabet.byte[next.value];
    if (byte < 0) return std::nullopt;
    bytes += static_cast<char>(byte);
    at += next.bytes;
  }
  return bytes;
}

std::string token_of_byte(uint8_t byte) {
  std::string token;
  append_utf8(kAlphabet.character[byte], token);
  return token;
}

std::string token_of_bytes(std::string_view bytes) {
  std::string out;
  out.reserve(bytes.size() + bytes.size() / 4);
  for (const char c : bytes) append_utf8(kAlphabet.character[static_cast<uint8_t>(c)], out);
  return out;
}

}  // namespace scute
