// scute collect for Cobra: pictures and texts.
#pragma once

#include "cli/verbs.h"

namespace scute::cli {

/// Whether the arguments ask for this form: a Cobra folder, or one of its flags --images, --config.
bool collects_pictures(const Arguments& arguments);
int run_collect_pictures(const Arguments& arguments, Output& out);

}  // namespace scute::cli
