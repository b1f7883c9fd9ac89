// Running a regressor over a feature folder: measuring, predicting, finding where two part.
#pragma once

#include <functional>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "scute/base/threads.h"
#include "scute/data/features.h"
#include "scute/evaluate/position_error.h"
#include "scute/models/regressor/predict.h"
#include "scute/recipe/measure.h"
#include "scute/regressor/ranges.h"

namespace scute {

/// A network in floats or in integers alone.
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

/// The predictions of several models for the same windows.
struct FolderPredictions {
  std::vector<Tensor> predicted;  ///< one per model: windows × 2, metres
  /// One per model: where the first value that is not finite arises, of the first window without a
  /// finite position; empty: all are.
  std::vector<std::string> not_finite;
  NonFinite found;  ///< in the frames of the sequences
};
/// Each sequence is read and normalized once for all models.
FolderPredictions predict_folder(const std::vector<const AnyRegressor*>& models,
                                 const FeatureFolder& folder, const Threads& threads,
                                 const WindowProgress& progress = {});

/// Up to 64 neighbours among the windows that are measured of one sequence: what one worker sees at
/// a time. Large enough that few frames are seen twice, where two pieces meet.
struct WindowPiece {
  size_t sequence;            ///< in the folder
  std::vector<int64_t> ends;  ///< of its windows
};
/// `windows` of the folder's windows (0 or more than there are: all), spread evenly over its
/// sequences, in order.
std::vector<WindowPiece> calibration_pieces(const FeatureFolder& folder, int64_t windows);
/// Shows pieces to a measurement; how many were finished, as Measurement::run. A sequence is read
/// and normalized once; `found` is of those that were begun.
int64_t measure_pieces(const Regressor& model, const FeatureFolder& folder,
                       std::span<const WindowPiece> pieces, Measurement& measurement,
                       NonFinite& found);

/// The statistics of every site of the float network over these windows, for a job that does not
/// keep them. The same for any number of threads.
RegressorStatistics measure_regressor(const Regressor& model, const FeatureFolder& folder,
                                      int64_t windows, const Threads& threads,
                                      const WindowProgress& progress = {});

}  // namespace scute
