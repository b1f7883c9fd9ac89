#include "scute/models/code_matrix.h"

#include <fmt/format.h>

#include "scute/base/error.h"
#include "scute/quantize/grid.h"

namespace scute {

CodeMatrix::CodeMatrix(const Tensor& weight, std::vector<float> scales, int bits)
    : bits_(bits), codes_(DType::i16, weight.shape()), scales_(std::move(scales)) {
  if (bits != 8 && bits != 16) fail("weights", "8 or 16 bits", fmt::format("{}", bits));
  const Tensor floats = weight.to_f32();
  const auto from = floats.matrix<float>();
  const auto to = codes_.mutable_matrix<int16_t>();
  Tensor bytes(DType::i8, weight.shape());
  const auto narrow = bytes.mutable_matrix<int8_t>();
  for (int64_t o = 0; o < from.rows; ++o) {
    const Grid grid{{bits, true}, scales_.at(static_cast<size_t>(o)), 0};
    for (int64_t k = 0; k < from.cols; ++k) {
      to.row(o)[k] = static_cast<int16_t>(grid.code(from.row(o)[k]));
      if (bits == 8) narrow.row(o)[k] = static_cast<int8_t>(to.row(o)[k]);
    }
  }
  if (bits == 8) {
    int8_ = GemmInt8(bytes);
  } else {
    int16_ = GemmInt16(codes_);
  }
}

int64_t CodeMatrix::bytes() const {
  return static_cast<int64_t>(scales_.size() * sizeof(float)) +
         (bits_ == 8 ? int8_.bytes() : int16_.bytes());
}

}  // namespace scute
