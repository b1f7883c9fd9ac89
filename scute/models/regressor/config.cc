#include "scute/models/regressor/config.h"

#include <fmt/format.h>

#include <cmath>

#include "scute/base/error.h"

namespace scute {

void RegressorConfig::check(std::string_view where) const {
  // Hundreds of times what any trained one has; the largest matrix (width × patch · projected) then
  // has 2^42 elements, so no product overflows.
  const auto in_range = [&](std::string_view name, int64_t value, int64_t most) {
    if (value < 1 || value > most) {
      fail(where, fmt::format("{} from 1 to {}", name, most), fmt::format("{}", value));
    }
  };
  in_range("features in a frame (Din)", features, 1 << 22);
  in_range("frames in a window (K)", window, 1 << 14);
  in_range("a projected width (proj_dim)", projected, 1 << 14);
  in_range("a model width (d_model)", width, 1 << 14);
  in_range("a number of blocks (n_layer)", layers, 1 << 10);
  in_range("frames in a patch (patch_len)", patch, 1 << 14);
  in_range("frames from patch to patch (stride)", stride, 1 << 14);
  if (patch > window) {
    fail(where, fmt::format("patches that fit into a window of {} frames", window),
         fmt::format("patches of {} frames", patch));
  }
  if (!std::isfinite(position_scale)) {
    fail(where, "a finite factor of the position table (pe_scale)",
         fmt::format("{}", position_scale));
  }
}

}  // namespace scute
