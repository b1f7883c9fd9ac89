// What stands behind a Gemm: internal to this folder.
#pragma once

#include <cstdint>
#include <string_view>

#include "scute/kernels/gemm.h"

namespace scute {

/// One packed weight matrix and the kernel that multiplies by it.
struct Gemm::Impl {
  Impl() = default;
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;
  virtual ~Impl() = default;

  /// The outputs [first, first + y.cols) of y = x · Wᵀ; at least one row and one output; first: a
  /// multiple of Gemm::kOutputTile.
  virtual void multiply(int64_t first, MatView<const float> x, MatView<float> y) const noexcept = 0;
  virtual std::string_view name() const = 0;
  virtual int64_t bytes() const = 0;
};

/// Values [first, first + count) of row `row` of a rank-2 float tensor, widened (f64: rounded).
void widen_row(const Tensor& matrix, int64_t row, int64_t first, int64_t count, float* out);

}  // namespace scute
