// The RMSNorm between the residual stream and what reads it.
#pragma once

#include <vector>

#include "scute/models/run.h"
#include "scute/models/sites.h"

namespace scute {

/// x ← x · factor; nothing where the factor is 1.
void scale_rows(Run& run, float factor, MatView<float> x);

/// An RMSNorm with its weight.
struct StreamNorm {
  std::vector<float> weight;
  float eps = 0;

  /// x: L × D to out: L × D, with a weight of ones; may be in place.
  void unweighted(Run& run, MatView<const float> x, MatView<float> out) const;
  /// The norm times `factor` into `out`, shown at the sites' plain one and, without its weight and
  /// rotated, at the rotated one. Where the stream itself is `rotated`, the weight holds ones and
  /// the rotated site alone is shown.
  void show(Run& run, MatView<const float> x, const SiteList::InputSites& sites, bool rotated,
            float factor, MatView<float> out) const;
};

}  // namespace scute
