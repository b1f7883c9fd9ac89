#include "scute/text/utf8.h"

namespace scute {
namespace {

constexpr char32_t kReplacement = 0xFFFD;

unsigned byte_at(std::string_view text, size_t at) { return static_cast<unsigned char>(text[at]); }

/// What may follow a lead byte (Unicode 15, table 3-7): only the second byte has its own limits,
/// which keep out overlong forms, surrogates and values beyond U+10FFFF.
struct Sequence {
  size_t bytes;        ///< 0: no lead byte
  unsigned low, high;  ///< of the second byte
  unsigned lead_bits;  ///< of the value in the lead byte
};

Sequence sequence_of(unsigned lead) {
  if (lead < 0x80) return {1, 0, 0, 0x7F};
  if (lead < 0xC2) return {0, 0, 0, 0};
  if (lead < 0xE0) return {2, 0x80, 0xBF, 0x1F};
  if (lead < 0xF0) return {3, lead == 0xE0 ? 0xA0u : 0x80u, lead == 0xED ? 0x9Fu : 0xBFu, 0x0F};
  if (lead < 0xF5) return {4, lead == 0xF0 ? 0x90u : 0x80u, lead == 0xF4 ? 0x8Fu : 0xBFu, 0x07};
  return {0, 0, 0, 0};
}

/// Where the first bad sequence begins, or text.size().
size_t valid_prefix(std::string_view text) {
  size_t at = 0;
  while (at < text.size()) {
    const CodePoint next = read_code_point(text, at);
    if (!next.valid) break;
    at += next.bytes;
  }
  return at;
}

}  // namespace

CodePoint read_code_point(std::string_view text, size_t at) {
  const unsigned lead = byte_at(text, at);
  if (lead < 0x80) return {lead, 1, true};
  const Sequence sequence = sequence_of(lead);
  if (sequence.bytes == 0) return {kReplacement, 1, false};
  char32_t value = lead & sequence.lead_bits;
  for (size_t i = 1; i < sequence.bytes; ++i) {
    if (at + i == text.size()) return {kReplacement, i, false};
    const unsigned byte = byte_at(text, at + i);
    const unsigned low = i == 1 ? sequence.low : 0x80;
    const unsigned high = i == 1 ? sequence.high : 0xBF;
    if (byte < low || byte > high) return {kReplacement, i, false};
    value = (value << 6) | (byte & 0x3F);
  }
  return {value, sequence.bytes, true};
}

CodePoint read_code_point_before(std::string_view text, size_t end) {
  size_t begin = end - 1;
  while (begin > 0 && end - begin < 4 && (byte_at(text, begin) & 0xC0) == 0x80) --begin;
  return read_code_point(text, begin);
}

void append_utf8(char32_t code_point, std::string& out) {
  const auto put = [&out](char32_t byte) { out += static_cast<char>(byte); };
  if (code_point < 0x80) {
    put(code_point);
  } else if (code_point < 0x800) {
    put(0xC0 | (code_point >> 6));
    put(0x80 | (code_point & 0x3F));
  } else if (code_point < 0x10000) {
    put(0xE0 | (code_point >> 12));
    put(0x80 | ((code_point >> 6) & 0x3F));
    put(0x80 | (code_point & 0x3F));
  } else {
    put(0xF0 | (code_point >> 18));
    put(0x80 | ((code_point >> 12) & 0x3F));
    put(0x80 | ((code_point >> 6) & 0x3F));
    put(0x80 | (code_point & 0x3F));
  }
}

std::string_view with_valid_utf8(std::string_view text, std::string& storage) {
  size_t at = valid_prefix(text);
  if (at == text.size()) return text;
  storage.assign(text.substr(0, at));
  while (at < text.size()) {
    const CodePoint next = read_code_point(text, at);
    if (next.valid) {
      storage.append(text.substr(at, next.bytes));
    } else {
      append_utf8(kReplacement, storage);
    }
    at += next.bytes;
  }
  return storage;
}

bool is_white_space(char32_t c) {
  if (c < 0x80) return c == ' ' || (c >= 0x09 && c <= 0x0D);
  return c == 0x85 || c == 0xA0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200A) || c == 0x2028 ||
         c == 0x2029 || c == 0x202F || c == 0x205F || c == 0x3000;
}

}  // namespace scute
