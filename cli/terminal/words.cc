#include "cli/terminal/words.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cmath>
#include <ctime>

#include "scute/text/utf8.h"

namespace scute::cli {

std::vector<std::string> words_of(const std::vector<std::string>& texts) {
  std::vector<std::string> out;
  for (const std::string& text : texts) {
    for (size_t begin = 0; begin <= text.size();) {
      const size_t end = std::min(text.find(',', begin), text.size());
      if (end > begin) out.push_back(text.substr(begin, end - begin));
      begin = end + 1;
    }
  }
  return out;
}

std::string local_time(const char* format) {
  const std::time_t now = std::time(nullptr);
  std::tm local{};
  localtime_r(&now, &local);
  char text[64] = "";
  std::strftime(text, sizeof text, format, &local);
  return text;
}

std::string compute_name(const Execution& execution) {
  std::string out = execution.compute == Compute::f32 ? "f32" : "bf16";
  if (execution.backend == Backend::simulate) out += ", 8-bit products simulated";
  return out;
}

std::string special_tokens_text(const TextInput& input) {
  return input.special_tokens ? "the tokenizer's special tokens around each text"
                              : "no added tokens";
}

std::string grouped(int64_t n) {
  std::string digits = fmt::format("{}", n);
  const size_t first = n < 0 ? 1 : 0;
  for (size_t at = digits.size(); at > first + 3; at -= 3) digits.insert(at - 3, ",");
  return digits;
}

std::string count_of(int64_t n, std::string_view noun) {
  return fmt::format("{} {}{}", grouped(n), noun, n == 1 ? "" : "s");
}

std::string bytes_text(int64_t bytes) {
  constexpr std::array<const char*, 5> kUnits{"bytes", "KB", "MB", "GB", "TB"};
  auto value = static_cast<double>(bytes);
  size_t unit = 0;
  while (value >= 999.95 && unit + 1 < kUnits.size()) {
    value /= 1000;
    ++unit;
  }
  return fmt::format("{:.{}f} {}", value, unit == 0 ? 0 : 1, kUnits[unit]);
}

std::string duration_text(double seconds) {
  if (seconds < 0.095) return fmt::format("{:.3f} s", seconds);
  if (seconds < 9.95) return fmt::format("{:.1f} s", seconds);
  const auto whole = static_cast<int64_t>(std::llround(seconds));
  if (whole < 60) return fmt::format("{} s", whole);
  if (whole < 3600) return fmt::format("{} min {:02} s", whole / 60, whole % 60);
  return fmt::format("{} h {:02} min", whole / 3600, whole / 60 % 60);
}

std::string fixed(double x, int digits) {
  return std::isfinite(x) ? fmt::format("{:.{}f}", x, digits) : "-";
}

std::string significant(double x, int digits) { return fmt::format("{:.{}g}", x, digits); }

std::string range_text(double lo, double hi) { return significant(lo) + " .. " + significant(hi); }

std::string bound_text(double share, const std::string& bound) {
  return fmt::format("at {} {}", share > 0 ? "least" : "most", bound);
}

std::string short_hash(std::string_view hex) { return std::string(hex.substr(0, 12)); }

namespace {

bool is_control(char32_t c) { return c < 0x20 || (c >= 0x7F && c < 0xA0); }

std::string escaped_controls(std::string_view text, bool keep_lines) {
  std::string out;
  for (size_t at = 0; at < text.size();) {
    const CodePoint next = read_code_point(text, at);
    const std::string_view bytes = text.substr(at, next.bytes);
    const bool line =
        next.value == '\n' || next.value == '\t' || text.substr(at).starts_with("\r\n");
    at += next.bytes;
    if (!next.valid) {
      for (const char c : bytes) out += fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
    } else if (is_control(next.value) && !(keep_lines && line)) {
      out += fmt::format("\\x{:02x}", static_cast<uint32_t>(next.value));
    } else {
      out += bytes;
    }
  }
  return out;
}

}  // namespace

std::string printable(std::string_view text) { return escaped_controls(text, false); }

std::string printable_lines(std::string_view text) { return escaped_controls(text, true); }

std::string printable_line(std::string_view text) {
  constexpr size_t kMostCharacters = 2000;
  const auto begins = [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; };
  // Cut before it is escaped: eleven megabytes of zero bytes would become forty-four.
  size_t end = 0, characters = 0;
  while (end < text.size() && (characters += begins(text[end])) <= kMostCharacters) ++end;
  std::string out = printable(text.substr(0, end));
  if (end == text.size()) return out;
  return out + fmt::format(" ... ({} characters in all)", std::ranges::count_if(text, begins));
}

std::string shell_word(std::string_view word) {
  const auto harmless = [](char c) {
    return std::isalnum(static_cast<unsigned char>(c)) != 0 ||
           std::string_view("_-./=:,+@%").find(c) != std::string_view::npos;
  };
  if (!word.empty() && std::all_of(word.begin(), word.end(), harmless)) return std::string(word);
  std::string out = "'";
  for (const char c : word) out += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return out + "'";
}

std::string shell_command(const std::vector<std::string>& words) {
  std::string out = "scute";
  for (const std::string& word : words) out += " " + shell_word(word);
  return out;
}

}  // namespace scute::cli
