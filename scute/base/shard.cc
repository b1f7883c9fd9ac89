#include "scute/base/shard.h"

#include <fmt/format.h>

#include <charconv>
#include <string_view>

#include "scute/base/error.h"

namespace scute {
namespace {

bool all_digits(std::string_view text) {
  return !text.empty() && text.find_first_not_of("0123456789") == std::string_view::npos;
}

}  // namespace

Shard Shard::parse(const std::string& text, const std::string& where) {
  const auto refuse = [&] {
    fail(where, "I/N, a part I of N counted from 0: 0/8 to 7/8", text.empty() ? "nothing" : text);
  };
  const size_t slash = text.find('/');
  if (slash == std::string::npos) refuse();
  const std::string_view first(text.data(), slash), second(text.data() + slash + 1);
  Shard out;
  if (!all_digits(first) || !all_digits(second)) refuse();
  const auto read = [&](std::string_view digits, int64_t& value) {
    if (std::from_chars(digits.data(), digits.data() + digits.size(), value).ec != std::errc{}) {
      refuse();
    }
  };
  read(first, out.index);
  read(second, out.of);
  if (out.index >= out.of) refuse();
  return out;
}

std::string Shard::text() const { return fmt::format("{}/{}", index, of); }

}  // namespace scute
