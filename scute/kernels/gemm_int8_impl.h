// What stands behind a GemmInt8: internal to this folder.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "scute/kernels/gemm_int8.h"

namespace scute {

/// Where sums go: int32, or, with scales (one for each column), floats, written as their bits.
struct Int8Output {
  int32_t* data;
  int64_t rows, cols, stride;
  const float* scales = nullptr;

  explicit Int8Output(MatView<int32_t> y)
      : data(y.data), rows(y.rows), cols(y.cols), stride(y.stride) {}
  Int8Output(MatView<float> y, const float* column_scales)
      : data(reinterpret_cast<int32_t*>(y.data)),
        rows(y.rows),
        cols(y.cols),
        stride(y.stride),
        scales(column_scales) {}

  Int8Output part(int64_t row, int64_t row_count, int64_t col, int64_t col_count) const {
    Int8Output out = *this;
    out.data += row * stride + col;
    out.rows = row_count;
    out.cols = col_count;
    if (scales != nullptr) out.scales += col;
    return out;
  }
};

/// One packed matrix of codes and the kernel that multiplies by it.
struct GemmInt8::Impl {
  Impl() = default;
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;
  virtual ~Impl() = default;

  virtual int64_t input_bytes(int64_t rows) const = 0;
  virtual void prepare(MatView<const int8_t> x, int64_t first, int64_t count,
                       std::byte* to) const noexcept = 0;
  /// At least one row and one output.
  virtual void multiply(const std::byte* inputs, int64_t first,
                        const Int8Output& y) const noexcept = 0;
  virtual std::string_view name() const = 0;
  virtual int64_t bytes() const = 0;
};

/// W in 4 bits and two levels, as GemmInt8 takes it.
struct TwoLevelCodes {
  const Tensor& codes;
  const Tensor& scales;
  const Tensor& channel_scales;

  int64_t outputs() const { return codes.dim(0); }
  int64_t inputs() const { return codes.dim(1); }
  int64_t groups() const { return scales.dim(1); }
};

/// The 8-bit codes that they stand for.
Tensor eight_bit_codes(const TwoLevelCodes& weight);

/// Whose instructions multiply and add.
enum class Int8Products {
  amx,  ///< of several rows; one alone by AVX-512 VNNI, which reads weights as fast
  avx512_vnni,
  avx_vnni,         ///< on vectors of 256 bits, for processors without AVX-512
  avx512_vnni_256,  ///< the same code by AVX-512's encoding of the instruction: for tests alone
  highway,          ///< of the best instruction set that Highway finds
};
/// What this machine has, without those that tests have switched off; the best comes first.
std::vector<Int8Products> int8_products();

/// codes: rank 2, i8. Any size, zero included. products: one of int8_products().
std::shared_ptr<const GemmInt8::Impl> make_own_gemm_int8(const Tensor& codes, Int8Products products,
                                                         PackedMemory* memory = nullptr);
/// Null where half a byte a code would save less than a fifth, or a group's codes are not those of
/// one multiplication each (two of its quotients would have to lie within 2^-22 of halves).
std::shared_ptr<const GemmInt8::Impl> make_own_gemm_int8(const TwoLevelCodes& weight,
                                                         Int8Products products,
                                                         PackedMemory* memory = nullptr);

}  // namespace scute
