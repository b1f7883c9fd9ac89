// --memory of the regressor's verbs: everything is in memory, or the work is refused.
#pragma once

#include "cli/terminal/job.h"
#include "scute/regressor/checkpoint.h"

namespace scute::cli {

/// Error saying what is needed where --memory has no room for the model's weights, packed by every
/// thread at most, and windows of features.
void require_regressor(const Job& job, const RegressorCheckpoint& checkpoint);

}  // namespace scute::cli
