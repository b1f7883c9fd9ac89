// What fixed_point_windows.cc hands to each instruction set.
#pragma once

#include <cstdint>

namespace scute {

/// How the sigmoid of codes of one number of fractional bits finds its place in the table: the
/// code, cut to ±limit (±8), times 2^left, over 2^right.
struct SigmoidSteps {
  const int32_t* middle;  ///< the entry of σ(0), 2048 on either side: the value in the lower 16
                          ///< bits, above them what the next entry adds
  int left, right;        ///< one of them is 0
  int32_t half;           ///< half of 2^right; 0 when right is
  int32_t limit;
};

}  // namespace scute
