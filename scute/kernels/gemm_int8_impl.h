// What stands behind a GemmInt8: internal to this folder.
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>

#include "scute/kernels/gemm_int8.h"

namespace scute {

/// One packed matrix of codes and the kernel that multiplies by it.
struct GemmInt8::Impl {
  Impl() = default;
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;
  virtual ~Impl() = default;

  /// y = x · Wᵀ; at least one row and one output.
  virtual void multiply(MatView<const int8_t> x, MatView<int32_t> y) const noexcept = 0;
  /// The same, each sum as a float times the scale of its output.
  virtual void multiply_scaled(MatView<const int8_t> x, const float* scales,
                               MatView<float> y) const noexcept = 0;
  virtual std::string_view name() const = 0;
  virtual int64_t bytes() const = 0;
};

/// codes: rank 2, i8. Any size, zero included.
std::shared_ptr<const GemmInt8::Impl> make_highway_gemm_int8(const Tensor& codes);

/// Null where oneDNN has no kernel for this machine that is exact, or is not built in. codes: rank
/// 2, i8, no dimension zero.
std::shared_ptr<const GemmInt8::Impl> make_onednn_gemm_int8(const Tensor& codes);

/// y[r, o] = float(sums[r, o]) · scales[o].
void scale_sums(MatView<const int32_t> sums, const float* scales, MatView<float> y) noexcept;

}  // namespace scute
