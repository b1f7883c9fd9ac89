// Hessians of a model's matrices: measured once, kept beside the statistics.
#pragma once

#include <functional>
#include <map>
#include <string>

#include "scute/language/model_folder.h"
#include "scute/language/quantize_options.h"
#include "scute/observe/gram.h"

namespace scute {

/// Σ x·xᵀ at the inputs of every matrix that may be rounded, of an expert's down_proj over the
/// tokens that reached it, of the plain float model: rotation, folding, bits and groups are decided
/// afterwards.
struct Hessians {
  std::map<std::string, Gram> sites;  ///< by site, e.g. layer_0.in_proj:input
  Json meta;                          ///< model, data, windows, tokens
};

struct HessianRun {
  int threads = 0;
  std::function<void(int64_t done, int64_t total)> progress = {};
};

/// The same bytes for any number of threads: windows are dealt to 4 sums in turn, and these are
/// added in order.
Hessians measure_hessians(const ModelDescription& model, const CalibrationOptions& options,
                          const HessianRun& run);

/// .safetensors: NAME/hessian F64 (n, n), metadata "meta". Atomic.
void write_hessians(const std::string& path, const Hessians& hessians);
/// Error when the file is none, or is of another model (by hash).
Hessians read_hessians(const std::string& path, const ModelDescription& model);

}  // namespace scute
