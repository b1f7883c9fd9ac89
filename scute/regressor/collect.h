// Collect for the regressor: windows of radio features through the float network once, exact
// statistics of every site, also of the values between layers.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "scute/data/features.h"
#include "scute/observe/statistics_file.h"
#include "scute/recipe/measure.h"
#include "scute/recipe/part.h"
#include "scute/regressor/checkpoint.h"

namespace scute {

/// Every option that influences the result; all are recorded in the file.
struct RegressorCollectOptions {
  std::string features;  ///< folder
  FeatureRole role = FeatureRole::train;
  bool normalize = true;
  /// batches × batch_size of the folder's windows, spread evenly over its sequences; batches 0: all
  int64_t batches = 50, batch_size = 64;
  std::string sites = {};  ///< glob; empty: all
  int fine = 8;
  bool per_channel = false;
  int64_t skip = 0;                            ///< pieces left out at the beginning
  std::optional<int64_t> take = std::nullopt;  ///< pieces measured at most after those
};

/// What was measured, and of how much.
struct RegressorCollectResult : Collected {
  int64_t listed = 0;                ///< windows of that role in the folder
  int64_t wanted = 0;                ///< of those, by batches × batch_size
  int64_t windows_planned = 0;       ///< of those, after skip and take
  int64_t windows = 0, pieces = 0;   ///< finished, also before
  int64_t windows_measured = 0;      ///< of them, here and now
  NonFinite found;                   ///< in the frames of the sequences
  std::vector<std::string> remarks;  ///< of checkpoint and folder, a sentence each
};

/// The sites of a regressor without reading its weights.
SiteList list_regressor_sites(const RegressorConfig& config);

/// The float network alone is measured, whatever the checkpoint says of scales. The windows asked
/// for are cut into pieces (WindowPiece) before skip and take, so that the statistics of parts,
/// merged, are those of the whole, count for count. meta is that of language models and Cobra:
/// model, model_sha256, data (files, and windows as [sequence, end]), windows_sha256, samples (the
/// windows measured), command, tool, …; besides them role, features_sha256 (hash_features() of the
/// whole role) and normalization_sha256. The same for any number of threads. Error when nothing is
/// left to measure, or nothing was finished before an interruption. `part`:
/// what is asked of a collection in parts, whose samples are pieces; windows and pieces are then
/// the part's.
RegressorCollectResult collect_regressor(const RegressorCheckpoint& checkpoint,
                                         const RegressorCollectOptions& options,
                                         const PassControl& control, const PartRequest& part = {});

}  // namespace scute
