// For tests: the scales stored with one layer.
#pragma once

#include <algorithm>
#include <string_view>

#include "scute/regressor/checkpoint.h"

namespace scute {

/// Null when the file holds none for it.
inline const RegressorScales* scales_of(const RegressorCheckpoint& checkpoint,
                                        std::string_view layer) {
  const auto found = std::ranges::find(checkpoint.scales, layer, &RegressorScales::layer);
  return found == checkpoint.scales.end() ? nullptr : &*found;
}

}  // namespace scute
