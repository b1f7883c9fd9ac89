// Test vectors for hardware: what every site of the integer regressor sees of a few windows.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "scute/data/features.h"
#include "scute/regressor/export/steps.h"

namespace scute {

/// rows × columns codes: a row is a frame (K of each window), a patch (L of each) or a window.
struct SiteVectors {
  std::string site;
  ShiftFormat format;
  int64_t columns = 0;
  std::vector<int16_t> codes;
  int64_t rows() const { return std::ssize(codes) / columns; }
};

/// windows: (B, K, Din) floats, in order. All sites of the model, in the order of its list; the
/// codes of head:output are the positions. `shifts`: as_shifts(model).
std::vector<SiteVectors> record_vectors(const IntegerRegressor& model, const ShiftRegressor& shifts,
                                        const Tensor& windows);

/// (count, K, Din): `count` windows of the folder, spread evenly over all of them; fewer where it
/// has fewer.
Tensor spread_windows(const FeatureFolder& folder, int64_t window, int64_t count);
/// (count, K, Din) standard normal numbers, as normalized features are; the same everywhere.
Tensor normal_windows(const RegressorConfig& config, int64_t count);

}  // namespace scute
