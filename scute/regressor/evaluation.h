// Scoring a regressor on a feature folder: the float baseline and, beside it, a quantized stage.
#pragma once

#include <array>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "scute/regressor/diagnosis.h"
#include "scute/regressor/writer.h"

namespace scute {

/// Quantization flags as they were given; one of them starts the quantized stage.
struct RegressorFlags {
  std::optional<RegressorBackend> backend = {};
  std::optional<int> bits = {};
  std::optional<RegressorQuantization::Mode> mode = {};
  bool all = false, proj = false, head = false, block_linear = false, backbone_linear = false;
  std::optional<RegressorMethod> method = {};
  std::optional<double> headroom = {};
  std::optional<int64_t> batches = {};   ///< windows measured, in batches; 0: all
  std::optional<FeatureRole> role = {};  ///< that are measured

  bool layers() const { return all || proj || head || block_linear || backbone_linear; }
  /// Whether scales must be decided anew rather than taken from the checkpoint.
  bool calibrates() const {
    return bits || mode || method || headroom || batches || role || layers();
  }
  bool any() const { return backend || calibrates(); }
};

/// What is scored, and how it is quantized.
struct RegressorEvalOptions {
  std::string features;  ///< folder
  FeatureRole target = FeatureRole::eval;
  bool normalize = true;
  int64_t batch = 64;  ///< windows of a calibration batch
  RegressorFlags flags = {};
  bool diagnose = true;
  bool sensitivity = false;
  int threads = 0;  ///< 0: all processors
};

/// Decided once what the flags, the checkpoint and the defaults say together.
struct RegressorPlan {
  RegressorQuantization how;
  RegressorRangeOptions ranges;
  bool stored = false;  ///< the checkpoint's own scales
  int64_t batches = 50;
  FeatureRole role = FeatureRole::train;
  std::vector<std::string> remarks;
};
/// Backend: as given, else the checkpoint's if it has scales, else integer. Bits: 16 with fixed,
/// else as given, else the checkpoint's. Layers: as given, else the checkpoint's if it has scales,
/// else all. Error when flags contradict each other.
RegressorPlan plan_regressor(const RegressorCheckpoint& checkpoint, const RegressorFlags& flags);
/// "integer, 8 bits, dynamic, maxabs × 1.25, all layers".
std::string describe(const RegressorPlan& plan);

/// The float network, and the quantized one.
constexpr std::array<const char*, 2> kRegressorStages{"baseline", "quant"};

/// One network, scored.
struct RegressorStage {
  std::string name;         ///< one of kRegressorStages
  std::string description;  ///< "floats", or of its plan
  Tensor predicted;         ///< windows × 2, metres
  PositionErrors errors;
  OutputGrid grid;
  std::optional<PositionComparison> against_baseline;
  std::string not_finite = {};  ///< as FolderPredictions has it
};

/// All stages on the same windows.
struct RegressorEvaluation {
  PositionSet set;
  std::vector<RegressorStage> stages;
  NonFinite found;
  std::string features_sha256;                    ///< of the windows scored
  std::string calibration_sha256;                 ///< of those measured; "" without
  std::optional<RegressorPlan> plan;              ///< of the quantized stage
  std::optional<CalibratedRegressor> calibrated;  ///< the same network, to be written
  RegressorStatistics statistics;                 ///< of the float network; empty without need
  int64_t calibration_windows = 0;
  std::optional<RegressorDiagnosis> diagnosis;
  std::vector<LayerSensitivity> sensitivity;
  std::vector<std::string> remarks;  ///< for the user, a sentence each
};

/// Called with what is being done ("calibration", …), how much of it is done, and all of it.
using RegressorProgress = std::function<void(const std::string& what, int64_t done, int64_t total)>;

/// Without flags a calibrated checkpoint runs as stored, in one stage; a float one in floats. With
/// any flag: baseline in floats, quant as planned. Calibration sees the float network alone.
RegressorEvaluation evaluate_regressor(const RegressorCheckpoint& checkpoint,
                                       const RegressorEvalOptions& options,
                                       const RegressorProgress& progress = {});

}  // namespace scute
