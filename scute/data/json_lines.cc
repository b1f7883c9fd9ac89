#include "scute/data/json_lines.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <utility>

#include "scute/base/error.h"
#include "scute/base/json_members.h"

namespace scute {
namespace {

using namespace std::string_view_literals;

/// One object; false ends the reading.
bool read_one(std::string_view text, const std::string& where,
              std::span<const std::string_view> wanted, const TextInput& input, BadLines& bad,
              const JsonObjectReader& read) {
  try {
    return read(parse_members(text, wanted, where), where);
  } catch (const Error& problem) {
    if (!input.skip_bad_lines) throw;
    bad.add(problem.what());
    return true;
  }
}

}  // namespace

std::string_view without_mark(std::string_view bytes, std::string_view file) {
  if (bytes.starts_with("\xFF\xFE"sv) || bytes.starts_with("\xFE\xFF"sv)) {
    fail(file, "UTF-8 text (iconv -f UTF-16 -t UTF-8 FILE makes it)", "UTF-16");
  }
  if (bytes.starts_with("\xEF\xBB\xBF"sv)) bytes.remove_prefix(3);
  return bytes;
}

bool is_json_name(std::string_view file) {
  if (is_nameless(file)) return true;
  constexpr std::string_view kEnding = ".json";
  return file.size() >= kEnding.size() &&
         std::ranges::equal(file.substr(file.size() - kEnding.size()), kEnding, [](char a, char b) {
           return std::tolower(static_cast<unsigned char>(a)) == b;
         });
}

void for_each_object(std::string_view bytes, std::string_view file,
                     std::span<const std::string_view> wanted, bool may_be_array,
                     const TextInput& input, BadLines& bad, const JsonObjectReader& read) {
  constexpr std::string_view kBlanks = " \t\r\n\v\f";
  bytes = without_mark(bytes, file);
  const size_t first = bytes.find_first_not_of(kBlanks);
  if (first == std::string_view::npos) return;
  if (may_be_array && bytes[first] == '[') {
    size_t number = 0;
    for (const std::string_view value : array_values(bytes, file)) {
      const std::string where = fmt::format("{}: item {}", file, number++);
      if (!read_one(value, where, wanted, input, bad, read)) return;
    }
    return;
  }
  // No JSON text holds a line end within a line, so a CR alone ends one too.
  int64_t line_number = 1;
  while (!bytes.empty()) {
    const size_t end = std::min(bytes.find_first_of("\r\n"), bytes.size());
    const std::string_view line = bytes.substr(0, end);
    const size_t line_end = bytes.substr(end).starts_with("\r\n") ? 2 : 1;
    bytes.remove_prefix(std::min(end + line_end, bytes.size()));
    const std::string where = fmt::format("{}:{}", file, line_number++);
    if (line.find_first_not_of(kBlanks) == std::string_view::npos) continue;
    if (!read_one(line, where, wanted, input, bad, read)) return;
  }
}

std::vector<int32_t> read_json_ids(const Json& list, const std::string& at) {
  std::vector<int32_t> ids;
  for (const Json& id : list.as_array(at)) {
    if (!id.is_int() || id.as_int(at) < 0 || !std::in_range<int32_t>(id.as_int(at))) {
      fail(at, "token ids from 0 to 2147483647", fmt::format("{} at {}", id.dump(), ids.size()));
    }
    ids.push_back(static_cast<int32_t>(id.as_int(at)));
  }
  return ids;
}

}  // namespace scute
