#include "scute/regressor/export/mem.h"

#include <algorithm>

namespace scute {
namespace {

constexpr int64_t kLanes = 4;
constexpr size_t kDigits = 16;
constexpr char kHex[] = "0123456789abcdef";

/// `digits` digits, the most significant first.
void append_hex(uint64_t value, int digits, std::string& out) {
  for (int shift = 4 * (digits - 1); shift >= 0; shift -= 4) out += kHex[value >> shift & 15];
  out += '\n';
}

template <class Code>
void append_row(const Code* row, int64_t count, std::string& out) {
  for (int64_t c = 0; c < count; c += kLanes) {
    uint64_t line = 0;
    for (int64_t lane = std::min(kLanes, count - c) - 1; lane >= 0; --lane) {
      line = line << 16 | static_cast<uint16_t>(row[c + lane]);
    }
    // A short line's lanes are the least significant, those missing are 0.
    append_hex(line, kDigits, out);
  }
}

}  // namespace

std::string mem_text(MatView<const int16_t> rows) {
  std::string out;
  out.reserve(static_cast<size_t>(rows.rows * ((rows.cols + kLanes - 1) / kLanes)) * (kDigits + 1));
  for (int64_t r = 0; r < rows.rows; ++r) append_row(rows.row(r), rows.cols, out);
  return out;
}

std::string mem_text(std::span<const int16_t> row) {
  std::string out;
  append_row(row.data(), std::ssize(row), out);
  return out;
}

std::string mem_text(std::span<const uint16_t> row) {
  std::string out;
  append_row(row.data(), std::ssize(row), out);
  return out;
}

std::string mem_text(std::span<const int64_t> values) {
  std::string out;
  for (const int64_t value : values) append_hex(static_cast<uint64_t>(value), kDigits, out);
  return out;
}

std::string hex_text(std::span<const uint16_t> values) {
  std::string out;
  for (const uint16_t value : values) append_hex(value, 4, out);
  return out;
}

}  // namespace scute
