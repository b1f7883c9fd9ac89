// Optional members of the objects in a tokenizer.json, where null means absent.
#pragma once

#include <string>
#include <string_view>

#include "scute/base/json.h"

namespace scute {

/// The member's value, or null when it is absent or JSON's null.
inline const Json* present(const Json& object, std::string_view key) {
  const Json* value = object.find(key);
  return value == nullptr || value->is_null() ? nullptr : value;
}

/// A flag, or `absent` when it is not there; Error naming `at` and the key when it is no flag.
inline bool flag(const Json& object, std::string_view key, bool absent, std::string_view at) {
  const Json* value = present(object, key);
  return value == nullptr ? absent : value->as_bool(std::string(at) + "." + std::string(key));
}

}  // namespace scute
