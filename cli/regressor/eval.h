// scute eval on a regressor: errors in metres, float and quantized.
#pragma once

#include <string>

#include "cli/terminal/options.h"
#include "scute/regressor/evaluation.h"

namespace scute::cli {

/// The flags of `eval` that only a regressor has.
class PositionFlags {
 public:
  void declare(Options& options);
  /// Whether one of them was given.
  bool any() const;
  /// After parsing; UsageError on flags that do not go together.
  RegressorEvalOptions request(int threads) const;

  std::string save_calibrated, out_dir, log;
  std::optional<double> break_jump;

 private:
  RegressorEvalOptions options_;
  std::optional<FeatureRole> target_;
  std::optional<int64_t> bits_, batches_;
  std::optional<int64_t> batch_;
  bool no_normalize_ = false, sensitivity_ = false;
};

/// Whether the model is meant as a regressor's checkpoint: its name ends in .pt, and it is no
/// folder.
bool is_regressor(const std::string& model);

struct PositionRequest {
  std::string model, command;
  int threads = 0;
  bool quiet = false, json = false;
};
int run_eval_positions(const PositionRequest& request, const PositionFlags& flags, Output& out);

}  // namespace scute::cli
