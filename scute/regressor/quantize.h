// Checkpoint and plan to a quantized regressor: what `scute quantize` and the short form of `eval`
// both call.
#pragma once

#include <string>

#include "scute/decide/plan.h"
#include "scute/observe/statistics_file.h"
#include "scute/regressor/predict.h"
#include "scute/regressor/writer.h"

namespace scute {

/// By the plan's ranges: formats of the network in integers alone (integer, all layers), else of
/// the layers that `how` rounds. `statistics`, which the plan was decided from, are kept beside it
/// and decide nothing; may be null. Mode fixed asks for no range. Error when plan or statistics are
/// of another model (by hash, where they have one), when the plan names sites that the model does
/// not have, and, all at once, for sites that it lacks or has for other bits.
CalibratedRegressor quantize_regressor(const RegressorCheckpoint& checkpoint,
                                       const RegressorQuantization& how, const Plan& plan,
                                       const StatisticsSet* statistics);

/// Error naming the first layer whose stored scales are not those of the checkpoint's plan: what
/// follows from another plan would replace them.
void check_scales_of_plan(const RegressorCheckpoint& checkpoint);

/// The bits that the plan gives the inputs of layers: those of the first it has, else of
/// `otherwise`.
int input_bits(const RegressorConfig& config, const Plan& plan, int otherwise);

/// The network that was made, ready to run.
AnyRegressor build_calibrated(const RegressorCheckpoint& checkpoint,
                              const CalibratedRegressor& calibrated);

/// "integer, 8 bits, dynamic, RANGES, all layers".
std::string describe(const RegressorQuantization& how, const std::string& ranges);
/// "integer, 8 bits, scales as stored".
std::string describe_stored(const RegressorQuantization& how);
/// What chose the ranges of a plan: "minmax x 1.25", as its meta says.
std::string describe_ranges(const Plan& plan);

}  // namespace scute
