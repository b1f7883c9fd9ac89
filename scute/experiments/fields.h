// Members of records, which may come from any tool: absent and of the wrong type are the same.
#pragma once

#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>

#include "scute/base/json.h"

namespace scute {

using FieldPath = std::initializer_list<std::string_view>;

/// The member at the end of `path`, each a key of the object before; null when there is none.
const Json* field(const Json& record, FieldPath path);
/// A finite number there; empty for everything else (null, NaN, text, …).
std::optional<double> number_field(const Json& record, FieldPath path);
/// A string there; empty for everything else.
std::string text_field(const Json& record, FieldPath path);
/// A boolean there; false for everything else.
bool flag_field(const Json& record, FieldPath path);

}  // namespace scute
