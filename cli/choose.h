// Which form a command line means, and what to say when there is none.
#pragma once

#include <string>
#include <string_view>

#include "cli/verbs.h"

namespace scute::cli {

/// Looks at MODEL with kind_of, once, and picks the verb's form for that kind; without MODEL, by
/// the size of --random or by the flags. `form` is null when help is asked for and several forms
/// fit. Error, one line, when MODEL is of a kind that the verb lacks or of none, or when two models
/// are of different kinds; UsageError for a size that nobody has.
Call choose(const Verb& verb, const Arguments& arguments);

/// What to say of a flag that only other forms of the verb have; empty when none has it.
std::string foreign_flag(const Call& call, std::string_view name);

/// "language models", "Cobra" or "regressors".
std::string_view plural_of(ModelKind kind);

}  // namespace scute::cli
