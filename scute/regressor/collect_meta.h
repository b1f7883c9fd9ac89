// Where the statistics of a regressor come from: what their file says of model, data and settings.
#pragma once

#include <span>

#include "scute/regressor/collect.h"
#include "scute/regressor/predict.h"

namespace scute {

/// Names, hashes, what was measured: `pieces` of `folder`; `before`: those skipped. Holds nothing
/// that does not influence the statistics (threads, output path, time), so that equal collections
/// are equal files.
Json regressor_collection_meta(const RegressorCheckpoint& checkpoint,
                               const RegressorCollectOptions& options, const FeatureFolder& folder,
                               std::span<const WindowPiece> pieces,
                               std::span<const WindowPiece> before);

/// Everything that decides what collect_regressor() measures: the checkpoint, the
/// features and windows of the folder, every option, the instruction set.
Json regressor_collection_key(const RegressorCheckpoint& checkpoint,
                              const RegressorCollectOptions& options, const FeatureFolder& folder);

}  // namespace scute
