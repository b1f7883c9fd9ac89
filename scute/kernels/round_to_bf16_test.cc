#include <gtest/gtest.h>

#include <bit>
#include <limits>
#include <vector>

#include "scute/kernels/gemm_highway.h"
#include "scute/kernels/test_targets.h"
#include "scute/tensor/dtype.h"

namespace scute::round_to_bf16_test {
namespace {

class RoundToBf16 : public EachTarget {};
SCUTE_EACH_TARGET(RoundToBf16);

TEST_P(RoundToBf16, AgreesWithTheScalar) {
  const float inf = std::numeric_limits<float>::infinity();
  std::vector<float> x{0.0f,
                       -0.0f,
                       inf,
                       -inf,
                       std::numeric_limits<float>::quiet_NaN(),
                       0x1p-140f,
                       std::numeric_limits<float>::max(),
                       std::bit_cast<float>(0x7f800001u),
                       std::bit_cast<float>(0xffffffffu),
                       1 + 0x1p-8f,
                       -1 - 3 * 0x1p-8f};
  const auto more = normal_values(100, 11);
  x.insert(x.end(), more.begin(), more.end());
  for (size_t n = 0; n <= x.size(); ++n) {
    std::vector<uint16_t> found(n + 1, 0xabcd);
    round_to_bf16(x.data(), static_cast<int64_t>(n), found.data());
    for (size_t i = 0; i < n; ++i) ASSERT_EQ(found[i], to_bf16(x[i]).bits) << x[i];
    ASSERT_EQ(found[n], 0xabcd);
  }
}

}  // namespace
}  // namespace scute::round_to_bf16_test
