// Running a regressor over a feature folder: measuring, predicting, finding where two part.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "scute/base/threads.h"
#include "scute/data/features.h"
#include "scute/evaluate/position_error.h"
#include "scute/models/regressor/predict.h"
#include "scute/regressor/ranges.h"

namespace scute {

using AnyRegressor = std::variant<Regressor, IntegerRegressor>;

/// The network that a checkpoint stands for as stored: in integers, with rounded layers, or in
/// floats.
AnyRegressor build_stored_regressor(const RegressorCheckpoint& checkpoint);

/// Called with the windows done and all of them.
using WindowProgress = std::function<void(int64_t done, int64_t total)>;

/// What the true positions are, and how the folder's sequences lie among the windows.
PositionSet positions_of(const FeatureFolder& folder);

/// SHA-256 of what a model is shown: names, windows, frames, positions and the normalization.
std::string hash_features(const FeatureFolder& folder);

struct FolderPredictions {
  std::vector<Tensor> predicted;  ///< one per model: windows × 2, metres
  NonFinite found;                ///< in the frames of the sequences
};
/// Each sequence is read and normalized once for all models.
FolderPredictions predict_folder(const std::vector<const AnyRegressor*>& models,
                                 const FeatureFolder& folder, const Threads& threads,
                                 const WindowProgress& progress = {});

/// The statistics of every site of the float network over `windows` of the folder's windows (0:
/// all), spread evenly over its sequences. The same for any number of threads.
RegressorStatistics measure_regressor(const Regressor& model, const FeatureFolder& folder,
                                      int64_t windows, const Threads& threads,
                                      const WindowProgress& progress = {});

}  // namespace scute
