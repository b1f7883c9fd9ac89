// Some members of a JSON object, without a look at the others.
#pragma once

#include <span>
#include <string_view>

#include "scute/base/json.h"

namespace scute {

/// The object in `text` with those of its members that are in `wanted`; another value is an Error.
/// What is not wanted must be JSON by its outline and may be anything within: keys twice, any
/// depth, numbers of any size, NaN, halves of surrogate pairs. Wanted members are parsed as
/// Json::parse does and may come once. Errors name `where`.
Json parse_members(std::string_view text, std::span<const std::string_view> wanted,
                   std::string_view where);

/// The bytes of each value of the array in `text`, checked by outline alone.
std::vector<std::string_view> array_values(std::string_view text, std::string_view where);

}  // namespace scute
