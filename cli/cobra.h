// What the verbs' forms for Cobra share.
#pragma once

#include "cli/verbs.h"

namespace scute::cli {

/// Whether one of the arguments, a position or the value of --model, is a Cobra folder.
bool names_cobra(const Arguments& arguments);

}  // namespace scute::cli
