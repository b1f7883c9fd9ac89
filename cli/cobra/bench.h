// scute bench --random cobra+3b-vision: pictures through vision towers and projector.
#pragma once

#include "cli/verbs.h"

namespace scute::cli {

/// Whether the arguments ask for a size that has towers.
bool benches_pictures(const Arguments& arguments);
int run_bench_pictures(const Arguments& arguments, Output& out);

}  // namespace scute::cli
