// scute eval COBRA --images DIR --against FLOAT: how far a model's values are from another's.
#pragma once

#include "cli/verbs.h"

namespace scute::cli {

int run_eval_pictures(const Arguments& arguments, Output& out);

}  // namespace scute::cli
