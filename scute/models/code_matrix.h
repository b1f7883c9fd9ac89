// A weight matrix as 8- or 16-bit codes, and exact sums of products with codes.
#pragma once

#include <variant>
#include <vector>

#include "scute/kernels/fixed_point.h"
#include "scute/kernels/gemm_int16.h"
#include "scute/kernels/gemm_int8.h"
#include "scute/models/run.h"
#include "scute/tensor/tensor.h"

namespace scute {

/// A matrix of codes with a scale for each output; products are exact sums.
class CodeMatrix {
 public:
  CodeMatrix() = default;
  /// weight: outputs × inputs; scales: one per output. Rounds half to even, then saturates. bits: 8
  /// or 16.
  CodeMatrix(const Tensor& weight, std::vector<float> scales, int bits);

  int64_t outputs() const { return codes_.dim(0); }
  int64_t inputs() const { return codes_.dim(1); }
  int bits() const { return bits_; }
  /// outputs × inputs, i16 also for 8 bits.
  const Tensor& codes() const { return codes_; }
  const std::vector<float>& scales() const { return scales_; }
  int64_t bytes() const;

  /// Calls use(sums) with the exact sums, rows × outputs: int32 for 8 bits, int64 for 16. x: rows ×
  /// inputs, codes of bits() bits.
  template <class Use>
  void multiply(Run& run, MatView<const int16_t> x, Use use) const {
    const Arena::Scope scope(run.arena());
    if (bits_ == 8) {
      const auto narrow = run.codes<int8_t>(x.rows, x.cols);
      fixed_narrow(x, narrow);
      const auto sums = run.codes<int32_t>(x.rows, outputs());
      const auto inputs = run.codes<int8_t>(1, int8_.input_bytes(x.rows));
      auto* prepared = reinterpret_cast<std::byte*>(inputs.data);
      int8_.prepare(narrow, 0, narrow.rows, prepared);
      int8_.multiply(prepared, 0, sums);
      use(sums);
    } else {
      const auto sums = run.codes<int64_t>(x.rows, outputs());
      int16_(x, sums);
      use(sums);
    }
  }

 private:
  int bits_ = 16;
  Tensor codes_;
  std::vector<float> scales_;
  GemmInt8 int8_;
  GemmInt16 int16_;
};

}  // namespace scute
