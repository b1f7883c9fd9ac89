// Compatibility observer: moving averages of per-sample percentiles, as Quamba keeps them.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "scute/tensor/tap.h"

namespace scute {

struct EmaOptions {
  double sigma = 0.01;    ///< weight of the newest sample, in (0, 1]
  double alpha = 0.9995;  ///< the percentile as a share, in [0, 1]
};

struct EmaResult {
  float percentile = 0;     ///< moving average of the samples' alpha-quantile of |x|
  float max = 0;            ///< moving average of the samples' max |x|: not the true maximum
  int64_t samples = 0;      ///< averaged
  int64_t nan_samples = 0;  ///< left out because they held a NaN
};

/// Per sample p = the alpha-quantile of |x| over all its values, interpolated linearly between the
/// two nearest ranks (rank alpha·(n − 1), n unlimited); the first sample gives m = p, every later
/// one m ← m + sigma·(p − m), in float. **The result depends on the order of the samples** and
/// cannot be merged: only for comparing with tools that do this. Any other use is served better by
/// Recorder.
class EmaObserver : public Tap {
 public:
  /// Error when sigma or alpha is out of range.
  explicit EmaObserver(const std::vector<Site>& sites, const EmaOptions& options = {});

  bool wants(const Site& site) const override;
  void see(const Site& site, MatView<const float> values) override;
  /// Of the sites that saw a sample.
  const std::map<std::string, EmaResult>& results() const { return results_; }

 private:
  EmaOptions options_;
  std::set<std::string, std::less<>> wanted_;
  std::map<std::string, EmaResult> results_;
  std::vector<float> scratch_;
};

/// The share-quantile of the values, n ≥ 1 and none NaN, interpolated linearly between the ranks
/// around share·(n − 1); reorders them.
float interpolated_quantile(std::vector<float>& values, double share);

}  // namespace scute
