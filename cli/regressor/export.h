// scute export CKPT.pt: a regressor for hardware.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "cli/terminal/options.h"
#include "cli/terminal/output.h"

namespace scute::cli {

struct PositionExport {
  bool q88 = false, per_layer = false, no_normalize = false, quiet = false;
  std::optional<int64_t> bits;
  std::string feat_root, method = "maxabs", calibration = "train", target = "eval";
  double headroom = 1.25;
  int64_t batches = 50, batch_size = 64, vectors = 8;
  int threads = 0;

  /// Its flags, in the options of export.
  void add_to(Options& options);
  bool asked() const { return q88 || per_layer; }
};

/// What every export is told: the model, the folder to write, and how to answer.
struct ExportTarget {
  std::string model, folder;
  bool force = false, json = false;
};

int export_positions(const PositionExport& request, const ExportTarget& target, Output& out);

}  // namespace scute::cli
