// Products with weights kept at 4 bits: y = x · Wᵀ, W[o, k] = code[o, k] · scale[o, k / group].
#pragma once

#include <cstdint>
#include <memory>

#include "scute/tensor/mat_view.h"
#include "scute/tensor/packed_memory.h"
#include "scute/tensor/tensor.h"

namespace scute {

/// Weights stay packed at half a byte each; a panel is widened once for up to 1024 rows, or in
/// registers for a single one. Codes are multiplied in f32 without their scale: each run of at most
/// 128 inputs of one group is added up from zero in the order of the inputs, then multiplied by the
/// scale and added to the runs before. A row's bits do not depend on how many rows there are, nor
/// on where outputs are cut; the error against exact arithmetic is below (min(group, 128) + runs +
/// 3)·2^−24·Σ|x|·|w|. Allocates nothing. Safe to call from several threads; runs on the calling
/// thread only.
class GemmInt4 {
 public:
  /// Outputs may be cut at multiples of this.
  static constexpr int64_t kOutputTile = 32;

  GemmInt4() = default;
  /// codes: outputs × inputs, i8 in −8 … 7; scales: outputs × (inputs / group), f32. Error for
  /// another shape or type, a code out of range, or a group that does not divide the inputs. What
  /// is packed lies in `memory`, if there is one.
  GemmInt4(const Tensor& codes, const Tensor& scales, int64_t group,
           PackedMemory* memory = nullptr);

  int64_t outputs() const { return outputs_; }
  int64_t inputs() const { return inputs_; }
  /// x: rows × inputs, y: rows × outputs, not overlapping.
  void operator()(MatView<const float> x, MatView<float> y) const noexcept;
  /// The outputs [first, first + y.cols) alone. first: a multiple of kOutputTile.
  void outputs(int64_t first, MatView<const float> x, MatView<float> y) const noexcept;
  int64_t bytes() const;

  struct Impl;

 private:
  int64_t outputs_ = 0, inputs_ = 0;
  std::shared_ptr<const Impl> impl_;
};

}  // namespace scute
