// What verbs ask about a regressor's features and its calibration: declared once for all of them.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "cli/terminal/options.h"
#include "scute/regressor/evaluation.h"

namespace scute::cli {

/// Where windows come from. --feat-root, --no-normalize.
struct FeatureFlags {
  std::string root;  ///< folder; empty: not given
  bool no_normalize = false;

  void declare(Options& options);
};

/// --target: "train", "eval", "test" or "auto", the role of the windows that a verb is about.
void declare_target(Options& options, std::string& role);

/// --quant-backend, --quant-mode, --quantize-all and the flags of single layers, which are noted in
/// `flags`.
void declare_formats(Options& options, RegressorFlags& flags);

/// The flags of CalibrationFlags that say how ranges are measured, which Q8.8 has no use for.
const std::vector<std::string>& calibration_flags();

/// Which windows are measured; nothing where no flag was given. --calib-target,
/// --quant-calib-batches, --batch-size.
struct MeasuredWindowFlags {
  std::optional<std::string> role = {};
  std::optional<int64_t> batches = {};  ///< 0: all
  std::optional<int64_t> batch_size = {};

  static constexpr const char* kRole = "train";
  static constexpr int64_t kBatches = 50, kBatchSize = 64;

  void declare(Options& options);
};

/// Bits, and how ranges are measured on the float network; nothing where no flag was given.
struct CalibrationFlags : MeasuredWindowFlags {
  std::optional<int64_t> bits = {};  ///< 8 or 16
  std::optional<std::string> method = {};
  std::optional<double> headroom = {};

  static constexpr const char* kMethod = "maxabs";
  static constexpr double kHeadroom = 1.25;

  /// Whether anything but --batch-size was given.
  bool any() const { return bits || method || headroom || role || batches; }
  /// `bits_otherwise`: the default, as the help shows it.
  void declare(Options& options, const std::string& bits_otherwise);
};

}  // namespace scute::cli
