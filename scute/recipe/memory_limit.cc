#include "scute/recipe/memory_limit.h"

#include <fmt/format.h>

#include <array>
#include <charconv>
#include <cmath>

#include "scute/base/error.h"

namespace scute {
namespace {

/// 0: no such unit.
double unit_of(std::string_view name) {
  constexpr std::array<char, 4> kLetters{'K', 'M', 'G', 'T'};
  for (size_t i = 0; i < kLetters.size(); ++i) {
    if (name.empty() || name.front() != kLetters[i]) continue;
    const std::string_view rest = name.substr(1);
    if (rest.empty() || rest == "B") return std::pow(1000.0, static_cast<double>(i + 1));
    if (rest == "iB") return std::pow(1024.0, static_cast<double>(i + 1));
  }
  return 0;
}

}  // namespace

int64_t parse_memory(std::string_view text, const std::string& where) {
  double number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  const double unit = unit_of(text.substr(static_cast<size_t>(end - text.data())));
  constexpr double kMost = 1e15;
  if (error != std::errc() || unit == 0 || !(number > 0) || number * unit > kMost) {
    fail(where, "a size with its unit, e.g. 6G, 800M or 6GiB", fmt::format("\"{}\"", text));
  }
  return static_cast<int64_t>(number * unit);
}

std::string memory_text(int64_t bytes) {
  const bool giga = bytes >= 999'500'000;
  const double value = static_cast<double>(bytes) / (giga ? 1e9 : 1e6);
  const double step = value < 10 ? 0.01 : value < 100 ? 0.1 : 1;
  return fmt::format("{:.3g} {}", std::ceil(value / step - 1e-9) * step, giga ? "GB" : "MB");
}

void require_memory(int64_t needed, int64_t limit, const std::string& what) {
  if (needed <= limit) return;
  fail("--memory", fmt::format("at least {}, for {}", memory_text(needed), what),
       memory_text(limit));
}

}  // namespace scute
