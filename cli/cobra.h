// What the verbs' forms for Cobra share.
#pragma once

#include "cli/verbs.h"

namespace scute::cli {

/// Whether there is a model there, and a Cobra.
bool is_cobra(const std::string& model);

/// Whether one of the arguments, a position or a flag's value other than --out, is a Cobra folder.
bool names_cobra(const Arguments& arguments);

}  // namespace scute::cli
