// Exact matrix products of 16-bit codes: weights packed once, sums in int64.
#pragma once

#include <cstdint>
#include <memory>

#include "scute/tensor/mat_view.h"
#include "scute/tensor/tensor.h"

namespace scute {

/// y = x · Wᵀ for one W of codes in −32768 … 32767, every sum exact in int64. Safe to call from
/// several threads; runs on the calling thread only.
class GemmInt16 {
 public:
  GemmInt16() = default;
  /// codes: outputs × inputs, i16. Error for another rank or type.
  explicit GemmInt16(const Tensor& codes);

  int64_t outputs() const { return outputs_; }
  int64_t inputs() const { return inputs_; }
  /// x: rows × inputs, y: rows × outputs.
  void operator()(MatView<const int16_t> x, MatView<int64_t> y) const noexcept;
  /// Bytes of the packed weights.
  int64_t bytes() const;

  struct Impl;

 private:
  int64_t outputs_ = 0, inputs_ = 0;
  std::shared_ptr<const Impl> impl_;
};

}  // namespace scute
