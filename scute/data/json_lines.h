// The objects of a .jsonl or .json, read one way by everything that takes such files.
#pragma once

#include <functional>
#include <span>
#include <string>
#include <string_view>

#include "scute/base/json.h"
#include "scute/data/text_input.h"

namespace scute {

/// Called with an object that holds the wanted members alone, and where it stands (FILE:LINE, or
/// FILE: item N of an array). False ends the reading.
using JsonObjectReader = std::function<bool(const Json& object, const std::string& where)>;

/// The objects of `bytes`: one a line (CR, LF or both; blank lines and a byte order mark are fine),
/// or, when it begins with [ and `may_be_array`, the values of one array. A line that is no object
/// or that `read` throws an Error for is that Error, or with input.skip_bad_lines goes to `bad`.
void for_each_object(std::string_view bytes, std::string_view file,
                     std::span<const std::string_view> wanted, bool may_be_array,
                     const TextInput& input, BadLines& bad, const JsonObjectReader& read);

/// Whether a file may hold an array: its name ends in ".json", in any case, or it has none.
bool is_json_name(std::string_view file);

/// The token ids of an array; Error naming `at` and the position of what is none.
std::vector<int32_t> read_json_ids(const Json& list, const std::string& at);

/// Text without a byte order mark; Error naming `file` for UTF-16.
std::string_view without_mark(std::string_view bytes, std::string_view file);

}  // namespace scute
