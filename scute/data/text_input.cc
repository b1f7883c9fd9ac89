#include "scute/data/text_input.h"

#include <fmt/format.h>

#include <array>
#include <utility>

#include "scute/base/error.h"

namespace scute {
namespace {

constexpr std::array<std::pair<std::string_view, RawIds>, 4> kRawIds{
    {{"u16", RawIds::u16}, {"u32", RawIds::u32}, {"i32", RawIds::i32}, {"i64", RawIds::i64}}};

}  // namespace

RawIds parse_raw_ids(std::string_view name, std::string_view where) {
  for (const auto& [known, ids] : kRawIds) {
    if (name == known) return ids;
  }
  fail(where, "u16, u32, i32 or i64", name);
}

std::string TextInput::flags() const {
  std::string out = fmt::format("{}{}", special_tokens ? " --special-tokens on" : "",
                                skip_bad_lines ? " --bad-lines skip" : "");
  for (const auto& [name, ids] : kRawIds) {
    if (raw_ids == ids) out = fmt::format("{} --raw-ids {}", out, name);
  }
  return out;
}

void BadLines::add(std::string problem) {
  ++count;
  if (first.size() < kMostNamed) first.push_back(std::move(problem));
}

void BadLines::add(const BadLines& other) {
  count += other.count;
  for (const std::string& problem : other.first) {
    if (first.size() < kMostNamed) first.push_back(problem);
  }
}

std::string BadLines::summary() const {
  if (count == 0) return "";
  return fmt::format("{} bad line{} left out, the first: {}", count, count == 1 ? "" : "s",
                     first.front());
}

}  // namespace scute
