#include <gtest/gtest.h>

#include "scute/kernels/elementwise.h"
#include "scute/kernels/test_targets.h"

namespace scute::multiply_columns_test {
namespace {

class MultiplyColumns : public EachTarget {};
SCUTE_EACH_TARGET(MultiplyColumns);

TEST_P(MultiplyColumns, IsOneMultiplicationPerElementWhateverTheStride) {
  constexpr int64_t kRows = 3, kGap = 5;
  constexpr float kUntouched = 77;
  for (const int64_t n : kSizes) {
    const auto factors = normal_values(n, 2);
    auto values = normal_values(kRows * (n + kGap), 3);
    for (int64_t r = 0; r < kRows; ++r) {
      std::fill_n(values.begin() + r * (n + kGap) + n, kGap, kUntouched);
    }
    const auto before = values;
    multiply_columns({values.data(), kRows, n, n + kGap}, factors.data());
    for (size_t i = 0; i < values.size(); ++i) {
      const size_t column = i % static_cast<size_t>(n + kGap);
      // The bits of a plain loop: a product is rounded once on every machine.
      const float expected =
          column < static_cast<size_t>(n) ? before[i] * factors[column] : kUntouched;
      ASSERT_EQ(values[i], expected) << n << " columns, element " << i;
    }
  }
}

TEST_P(MultiplyColumns, OfNoRowsTouchesNothing) {
  float value = 3;
  const float factor = 2;
  multiply_columns({&value, 0, 1}, &factor);
  EXPECT_EQ(value, 3);
}

}  // namespace
}  // namespace scute::multiply_columns_test
