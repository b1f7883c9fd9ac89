// Trace for the regressor: every scale of a quantized checkpoint, where it acts and where it comes
// from.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "scute/base/json.h"
#include "scute/regressor/checkpoint.h"

namespace scute {

/// One scale, or those of one matrix.
struct TracedFormat {
  std::string layer;  ///< of a product; of a value, its name
  std::string acts;   ///< "input", "weight", "bias" or "value"
  int bits = 0;
  int64_t count = 1;                              ///< how many scales
  float least = 0, most = 0;                      ///< of them
  std::optional<float> zero;                      ///< of asymmetric codes
  double lo = 0, hi = 0;                          ///< what the codes span, by the largest scale
  std::string site;                               ///< whose range it follows; empty: no site's
  std::optional<std::pair<double, double>> seen;  ///< least and largest value measured there
  std::string policy;                             ///< what chose the range; "" when not recorded
  std::string because;                            ///< in words
  bool edited = false;                            ///< no longer what the plan gives
};

struct RegressorTrace {
  std::string path, description;
  std::vector<TracedFormat> scales;  ///< in the order tensors reach them, values after products
  std::vector<std::string> notes;    ///< what is not recorded, and why
  int64_t edits = 0;                 ///< of ranges, as the plan records them

  /// {"model", "format", "notes", "edits", "scales": […]}.
  Json to_json() const;
  /// A title line, then one line a scale.
  std::string to_csv() const;
};

/// From what the checkpoint itself holds. Error when it has no scales.
RegressorTrace trace_regressor(const RegressorCheckpoint& checkpoint);

}  // namespace scute
