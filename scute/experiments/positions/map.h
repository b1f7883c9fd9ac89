// Internal to the figures of positions: what the path and the map share.
#pragma once

#include <vector>

#include "scute/experiments/positions/plots.h"

namespace scute {

/// Error without stages or windows, when a stage is not n × 2 or a part leaves 0 … n − 1.
void check_stages(const PositionSet& set, const std::vector<PositionStage>& stages);

/// What a picture of the plane shows, metres.
struct Extent {
  struct Side {
    double low, high;
  };
  Side x, y;
  int64_t outside = 0;  ///< predictions that it does not show
};
/// True positions with a margin of 4 %.
Extent true_extent(const PositionSet& set);
/// Also the predictions, but no further than the longer side of the true positions: one wild
/// prediction must not shrink the rest to a dot.
Extent drawn_extent(const PositionSet& set, const std::vector<PositionStage>& stages);

}  // namespace scute
