// quantize --gptq --shard: the Hessians of a model, measured by several processes.
#pragma once

#include <string>

#include "cli/collect_part.h"
#include "cli/terminal/job.h"
#include "cli/terminal/launcher.h"
#include "scute/language/model_folder.h"
#include "scute/language/quantize_options.h"

namespace scute::cli {

/// UsageError about flags that only rounding reads: a part is of the Hessians of the float model.
void refuse_rounding_flags(const Call& call);
/// Measures the part and writes it into the folder, unless it is there; the exit code.
int run_hessian_part(const ModelDescription& model, const CalibrationOptions& calibration,
                     const Launched& launched, const CheckpointEvery& every,
                     const std::string& folder, bool force, Job& job, Output& out);

}  // namespace scute::cli
