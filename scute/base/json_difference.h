// What two descriptions of one thing do not agree on.
#pragma once

#include <string>

#include "scute/base/json.h"

namespace scute {

/// "model a1b2c3d4…, not 9f8e7d6c…; samples 8, not 16": each member of two objects that differs,
/// the one found first; long values by some words from where they differ. "" when they are equal.
std::string difference_text(const Json& found, const Json& expected);

}  // namespace scute
