// Whether oneDNN's int8 product is exact on this machine.
#ifndef SCUTE_PLAIN
#include <fmt/format.h>

#include <algorithm>
#include <vector>

#include "scute/base/random.h"
#include "scute/kernels/gemm_int8_impl.h"

namespace scute {

std::string gemm_int8_self_test() {
  // 37 rows take tiles of 32, 4 and 1; 1536 products of 127·127 are where 16-bit sums saturate.
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
  const Tensor weights = Tensor::of<int8_t>({kOutputs, kInputs}, w);
  const auto tested = make_onednn_gemm_int8(weights);
  if (tested == nullptr) return "";
  constexpr size_t kSize = kRows * kOutputs;
  std::vector<int32_t> found(kSize), expected(kSize);
  tested->multiply({x.data(), kRows, kInputs}, {found.data(), kRows, kOutputs});
  make_highway_gemm_int8(weights)->multiply({x.data(), kRows, kInputs},
                                            {expected.data(), kRows, kOutputs});
  for (size_t i = 0; i < kSize; ++i) {
    if (found[i] == expected[i]) continue;
    return fmt::format("{}: row {}, output {}: expected {}, found {}", tested->name(), i / kOutputs,
                       i % kOutputs, expected[i], found[i]);
  }
  return "";
}

}  // namespace scute
#endif
