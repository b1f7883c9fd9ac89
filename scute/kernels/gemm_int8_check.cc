// Whether the int8 product that this machine chooses is exact.
#include <fmt/format.h>

#include <algorithm>
#include <vector>

#include "scute/base/random.h"
#include "scute/kernels/gemm_int8.h"

namespace scute {
namespace {

using CheckedCodes = MatView<const int8_t>;

std::string compare_with_loops(CheckedCodes x, CheckedCodes w, MatView<const int32_t> y,
                               std::string_view name) {
  for (int64_t r = 0; r < y.rows; ++r) {
    for (int64_t o = 0; o < y.cols; ++o) {
      int64_t sum = 0;
      for (int64_t k = 0; k < x.cols; ++k) sum += int64_t{x.row(r)[k]} * w.row(o)[k];
      if (y.row(r)[o] == sum) continue;
      return fmt::format("{}: row {}, output {}: expected {}, found {}", name, r, o, sum,
                         y.row(r)[o]);
    }
  }
  return "";
}

}  // namespace

std::string gemm_int8_self_test() {
  // 37 rows take every size of block; 1536 products of 127·127 are where 16-bit sums
  // saturate.
  constexpr int64_t kRows = 37, kInputs = 1536, kOutputs = 83;
  Random random(1);
  const auto draw = [&random](int64_t n) {
    std::vector<int8_t> codes(static_cast<size_t>(n));
    for (int8_t& code : codes) code = static_cast<int8_t>(random.below(256) - 128);
    return codes;
  };
  auto x = draw(kRows * kInputs), w = draw(kOutputs * kInputs);
  // Rows 0 and 1 of both at the extremes.
  for (auto* codes : {&x, &w}) {
    std::fill_n(codes->begin(), kInputs, int8_t{127});
    std::fill_n(codes->begin() + kInputs, kInputs, int8_t{-128});
  }
  const GemmInt8 tested(Tensor::of<int8_t>({kOutputs, kInputs}, w));
  const CheckedCodes rows(x.data(), kRows, kInputs), weights(w.data(), kOutputs, kInputs);
  Tensor inputs(DType::u8, {tested.input_bytes(kRows)}), y(DType::i32, {kRows, kOutputs});
  const auto prepared = reinterpret_cast<std::byte*>(inputs.mutable_values<uint8_t>().data());
  tested.prepare(rows, 0, kRows, prepared);
  tested.multiply(prepared, 0, y.mutable_matrix<int32_t>());
  return compare_with_loops(rows, weights, y.matrix<int32_t>(), tested.backend());
}

}  // namespace scute
