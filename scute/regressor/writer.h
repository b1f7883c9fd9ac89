// Calibrated checkpoints of the regressor: written so that they run the same again.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "scute/io/torch_zip.h"
#include "scute/regressor/checkpoint.h"

namespace scute {

/// A quantized network on top of a checkpoint's float weights.
struct CalibratedRegressor {
  RegressorQuantization how;
  RegressorRounding rounding;               ///< of the float network's layers
  std::optional<RegressorFormats> formats;  ///< or of the network in integers alone
  /// Where the scales come from: key and text, e.g. {"data", "SHA-256"}.
  std::vector<std::pair<std::string, std::string>> provenance;
  Plan plan;  ///< the ranges in use; no sites where none was asked for
  std::optional<StatisticsSet> statistics;  ///< that it was decided from
};

/// Writes the checkpoint's own tensors, `cfg` and training facts, `arch` brought up to date, and
/// the scales in the key style of the backend (python for lsq and integer, cpp for extension), so
/// that the original's tools read them; what those styles cannot say is under the key `scute`.
/// read_regressor_checkpoint() and build_stored_regressor() give the same network. Atomic.
void write_calibrated_regressor(const std::string& path, const RegressorCheckpoint& checkpoint,
                                const CalibratedRegressor& calibrated);

/// The value of the key `scute`, and back: Error naming `path` and what makes no sense.
TorchValue scute_part(const CalibratedRegressor& calibrated);
void read_scute_part(const TorchValue& part, const std::string& path, RegressorCheckpoint& out);

}  // namespace scute
