// Exact matrix products of 8-bit codes: weights packed once, sums in int32.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "scute/tensor/mat_view.h"
#include "scute/tensor/tensor.h"

namespace scute {

/// y = x · Wᵀ for one W of codes in −128 … 127, every sum exact in int32. By oneDNN where it is
/// exact (VNNI or AMX: its older paths saturate 16-bit sums), else by our own kernel. Safe to call
/// from several threads; runs on the calling thread only.
class GemmInt8 {
 public:
  GemmInt8() = default;
  /// codes: outputs × inputs, i8. Error for another rank or type, and for more than 131,071 inputs,
  /// whose sums could leave int32.
  explicit GemmInt8(const Tensor& codes);

  int64_t outputs() const { return outputs_; }
  int64_t inputs() const { return inputs_; }
  /// x: rows × inputs, y: rows × outputs.
  void operator()(MatView<const int8_t> x, MatView<int32_t> y) const noexcept;
  /// y[r, o] = float(sum) · scales[o], one float multiplication; float(sum) rounds half to even
  /// (exact for |sum| ≤ 2^24).
  void operator()(MatView<const int8_t> x, const float* scales, MatView<float> y) const noexcept;
  /// "oneDNN int8", "highway int8".
  std::string_view backend() const;
  /// Bytes of the packed weights.
  int64_t bytes() const;

  struct Impl;

 private:
  int64_t outputs_ = 0, inputs_ = 0;
  std::shared_ptr<const Impl> impl_;
};

/// Compares one product of oneDNN's int8 with our own kernel, at the extremes of the codes: "" or
/// what is wrong. "" where oneDNN is not used.
std::string gemm_int8_self_test();

}  // namespace scute
