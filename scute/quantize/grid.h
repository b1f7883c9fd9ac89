// The finite set of values left after quantization: scale × (code − zero).
#pragma once

#include <cstdint>

namespace scute {

/// Bits and symmetry, before a range is known.
struct GridSpec {
  int bits = 8;           ///< 2 … 16
  bool symmetric = true;  ///< zero point 0

  int32_t lowest() const { return -(int32_t{1} << (bits - 1)); }
  int32_t highest() const { return (int32_t{1} << (bits - 1)) - 1; }
};

/// Codes lowest…highest stand for scale × (code − zero).
struct Grid {
  GridSpec spec;
  float scale = 1;
  int32_t zero = 0;

  /// Round half to even, then saturate. NaN becomes the zero code.
  int32_t code(float x) const noexcept;
  float value(int32_t code_) const noexcept { return scale * static_cast<float>(code_ - zero); }
  float round(float x) const noexcept { return value(code(x)); }
};

/// The grid that keeps [lo, hi], lo ≤ 0 ≤ hi after widening to include 0. Symmetric: scale =
/// max(|lo|, |hi|) / highest. Asymmetric: scale = (hi − lo) / (2^bits − 1), the zero point an exact
/// code. A range of width 0 gets scale 1e-6 / highest. Error when bits, lo or hi make no sense
/// (lo > hi, not finite).
Grid make_grid(double lo, double hi, GridSpec spec);

}  // namespace scute
