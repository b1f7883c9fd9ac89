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

  /// y = x · Wᵀ; at least one row, one input and one output.
  virtual void multiply(MatView<const float> x, MatView<float> y) const noexcept = 0;
  virtual std::string_view name() const = 0;
  virtual int64_t bytes() const = 0;
};

/// Row `row` of a rank-2 float tensor, widened (f64: rounded) to f32: dim(1) values.
void widen_row(const Tensor& matrix, int64_t row, float* out);

}  // namespace scute
