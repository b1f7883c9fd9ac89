// Exact matrix products of 8-bit codes: weights packed once, sums in int32.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "scute/tensor/mat_view.h"
#include "scute/tensor/packed_memory.h"
#include "scute/tensor/tensor.h"

namespace scute {

/// y = x · Wᵀ for one W of codes in −128 … 127, every sum exact in int32. W is kept at a byte a
/// code, or at half a byte where it is given in 4 bits and two levels of scales. Safe to call from
/// several threads; runs on the calling thread only.
///
/// x is prepared once; then its products may be formed in parts, by several threads at once:
///   prepare(x, 0, x.rows, inputs);
///   multiply(inputs, 0, scales, left), multiply(inputs, 32, scales + 32, right)
class GemmInt8 {
 public:
  /// Parts of the outputs begin at its multiples.
  static constexpr int64_t kOutputTile = 32;

  GemmInt8() = default;
  /// codes: outputs × inputs, i8. Error for another rank or type, and for more than 131,071 inputs,
  /// whose sums could leave int32. What is packed lies in `memory`, if there is one.
  explicit GemmInt8(const Tensor& codes, PackedMemory* memory = nullptr);
  /// Two levels: W[o, k] = saturate(round half to even(codes[o, k] · scales[o, k / group] /
  /// channel_scales[o])), in floats. codes: outputs × inputs, i8 in −8 … 7; scales: outputs ×
  /// (inputs / group), f32, of any sign; channel_scales: outputs × 1, f32, > 0. Groups of few
  /// inputs, for which half a byte saves too little, are kept at a byte a code. Error for another
  /// shape, type or range.
  GemmInt8(const Tensor& codes, const Tensor& scales, const Tensor& channel_scales,
           PackedMemory* memory = nullptr);

  int64_t outputs() const { return outputs_; }
  int64_t inputs() const { return inputs_; }
  /// Bytes of `rows` prepared rows.
  int64_t input_bytes(int64_t rows) const;
  /// Prepares the rows [first, first + count) of x, rows × inputs; other calls, of other threads
  /// too, prepare the others. to: input_bytes(x.rows), 64-byte aligned.
  void prepare(MatView<const int8_t> x, int64_t first, int64_t count, std::byte* to) const noexcept;
  /// y[r, i] = the sum of row r and output first + i. inputs: y.rows rows, prepared by this object;
  /// first: a multiple of kOutputTile.
  void multiply(const std::byte* inputs, int64_t first, MatView<int32_t> y) const noexcept;
  /// y[r, i] = float(sum) · scales[i], one float multiplication; float(sum) rounds half to even
  /// (exact for |sum| ≤ 2^24).
  void multiply(const std::byte* inputs, int64_t first, const float* scales,
                MatView<float> y) const noexcept;
  /// "amx int8", "avx512-vnni int8", "avx-vnni int8", "highway int8", and "int4 × int8" of each.
  std::string_view backend() const;
  /// Bytes of the packed weights and of what groups are multiplied by.
  int64_t bytes() const;

  struct Impl;

 private:
  int64_t outputs_ = 0, inputs_ = 0;
  std::shared_ptr<const Impl> impl_;
};

/// Compares one product with plain loops, at the extremes of the codes: "" or what is wrong.
std::string gemm_int8_self_test();

}  // namespace scute
