// What a model's memory goes to.
#pragma once

#include <cstdint>

namespace scute {

/// Bytes in memory, as packed for this machine.
struct ModelSize {
  int64_t linear = 0;       ///< in_proj, x_proj, dt_proj, out_proj
  int64_t unchosen = 0;     ///< of linear: experts that a token is not sent to
  int64_t convolution = 0;  ///< taps, bias and scales
  int64_t scan = 0;         ///< A, D, dt bias
  int64_t norms = 0;
  int64_t embedding = 0;
  int64_t head = 0;  ///< packed on its own, also where it is tied

  int64_t total() const { return linear + convolution + scan + norms + embedding + head; }
};

}  // namespace scute
