// scute quantize for Cobra.
#pragma once

#include "cli/verbs.h"

namespace scute::cli {

int run_quantize_pictures(const Arguments& arguments, Output& out);

}  // namespace scute::cli
