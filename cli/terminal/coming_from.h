// Flags of the programs that scute's users come from, and what says the same here.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "cli/verbs.h"

namespace scute::cli {

/// A row of docs/coming-from.md.
struct FlagElsewhere {
  std::string_view program;  ///< that has it, e.g. "main.py"
  std::string_view flag;     ///< as that program spells it
  std::string_view instead;  ///< what to type here, or why there is nothing to type
  std::string_view command;  ///< such a command, which works in the repository's top folder
};

const std::vector<FlagElsewhere>& flags_elsewhere();

/// Whether the row's program does this verb's work on this kind of model.
bool does_the_work(const FlagElsewhere& row, const Call& call);

/// The row of an unknown flag (underscores equal hyphens): of the program that does this verb's
/// work on this kind of model, else the first; null when no program has it.
const FlagElsewhere* flag_elsewhere(const Call& call, std::string_view name);

}  // namespace scute::cli
