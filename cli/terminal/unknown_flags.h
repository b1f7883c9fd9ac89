// What is said of flags that a form does not have: all of them at once.
#pragma once

#include <string>
#include <vector>

#include "cli/verbs.h"

namespace scute::cli {

/// One sentence a flag: the kinds that have it, what says the same here of a flag that another
/// program has (coming_from.h), or the nearest of `known`. Empty without names.
std::string unknown_flags_text(const Call& call, const std::vector<std::string>& names,
                               const std::vector<std::string>& known);

}  // namespace scute::cli
