// Products with weights kept at 4 bits: y = x · Wᵀ, W[o, k] = code[o, k] · scale[o, k / group].
#pragma once

#include <cstdint>
#include <memory>

#include "scute/tensor/mat_view.h"
#include "scute/tensor/tensor.h"

namespace scute {

/// Weights stay packed at half a byte each and are widened a panel at a time, which all rows of x
/// share. Sums in f32, in the order of the inputs; a row's bits do not depend on how many rows
/// there are, and equal those of our own f32 Gemm kernel on the widened weights. Safe to call from
/// several threads; runs on the calling thread only.
class GemmInt4 {
 public:
  GemmInt4() = default;
  /// codes: outputs × inputs, i8 in −8 … 7; scales: outputs × (inputs / group), f32. Error for
  /// another shape or type, a code out of range, or a group that does not divide the inputs.
  GemmInt4(const Tensor& codes, const Tensor& scales, int64_t group);

  int64_t outputs() const { return outputs_; }
  int64_t inputs() const { return inputs_; }
  /// x: rows × inputs, y: rows × outputs, not overlapping.
  void operator()(MatView<const float> x, MatView<float> y) const noexcept;
  int64_t bytes() const;

  struct Impl;

 private:
  int64_t outputs_ = 0, inputs_ = 0;
  std::shared_ptr<const Impl> impl_;
};

}  // namespace scute
