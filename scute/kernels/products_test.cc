#include "scute/kernels/products.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "scute/kernels/test_targets.h"

namespace scute::products_test {
namespace {

class ElementProducts : public EachTarget {};
SCUTE_EACH_TARGET(ElementProducts);

/// Calls run(view of 3 rows with gaps), then compares with `expected` of each value and place: the
/// bits of a plain loop, as a product is rounded once on every machine.
template <class Run, class Expected>
void expect_each(int64_t cols, const Run& run, const Expected& expected) {
  constexpr int64_t kRows = 3, kGap = 5;
  auto values = normal_values(kRows * (cols + kGap), 3);
  values[0] = std::numeric_limits<float>::quiet_NaN();
  const auto before = values;
  run(MatView<float>{values.data(), kRows, cols, cols + kGap});
  for (size_t i = 0; i < values.size(); ++i) {
    const auto at = static_cast<int64_t>(i);
    const int64_t r = at / (cols + kGap), c = at % (cols + kGap);
    const float to = c < cols ? expected(before[i], r, c) : before[i];
    if (std::isnan(to)) {
      ASSERT_TRUE(std::isnan(values[i])) << cols << " columns, element " << i;
    } else {
      ASSERT_EQ(values[i], to) << cols << " columns, element " << i;
    }
  }
}

TEST_P(ElementProducts, AreThoseOfAPlainLoop) {
  for (const int64_t n : kSizes) {
    const auto other = normal_values(3 * n, 5);
    const MatView<const float> y(other.data(), 3, n);
    expect_each(
        n, [&](auto x) { multiply_into(x, y); },
        [&](float x, int64_t r, int64_t c) { return x * y.row(r)[c]; });
    expect_each(
        n, [](auto x) { multiply_by(x, -1.75f); },
        [](float x, int64_t, int64_t) { return x * -1.75f; });
    expect_each(
        n, [](auto x) { squared_relu(x); },
        [](float x, int64_t, int64_t) { return x < 0 ? 0 : x * x; });
  }
}

}  // namespace
}  // namespace scute::products_test
