#include "scute/kernels/lane_products.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <vector>

#include "scute/base/random.h"
#include "scute/kernels/reference_lane_products.h"
#include "scute/kernels/test_targets.h"

namespace scute::lane_products_test {
namespace {

class LaneProducts : public EachTarget {};
SCUTE_EACH_TARGET(LaneProducts);

/// Rows with gaps that hold NaN, so that reading one shows.
struct GappedRows {
  int64_t rows, cols;
  std::vector<double> values;
  GappedRows(int64_t rows_, int64_t cols_, uint64_t seed) : rows(rows_), cols(cols_) {
    Random random(seed);
    values.assign(static_cast<size_t>(rows * (cols + 3)), std::numeric_limits<double>::quiet_NaN());
    for (int64_t r = 0; r < rows; ++r) {
      for (int64_t c = 0; c < cols; ++c) view().row(r)[c] = random.normal();
    }
  }
  MatView<double> view() { return {values.data(), rows, cols, cols + 3}; }
};

/// Bits, so that NaN in the gaps compare too.
bool equal_bits(const GappedRows& a, const GappedRows& b) {
  return std::ranges::equal(std::as_bytes(std::span(a.values)), std::as_bytes(std::span(b.values)),
                            [](std::byte x, std::byte y) { return x == y; });
}

TEST_P(LaneProducts, are_the_bits_of_plain_loops) {
  for (const int64_t rows : {0, 1, 5, 6, 7, 8, 9, 17, 24, 131}) {
    for (const int64_t n : {0, 1, 2, 63, 64, 65, 130, 257}) {
      for (const int64_t columns : {16, 32, 48}) {
        SCOPED_TRACE(testing::Message() << rows << " x " << n << " x " << columns);
        GappedRows factors(rows, n, 1), values(n, columns, 2), sums(rows, columns, 3);
        GappedRows expected = sums;
        add_lane_products(factors.view(), values.view(), sums.view());
        reference_lane_products(factors.view(), values.view(), expected.view());
        ASSERT_TRUE(equal_bits(sums, expected));
      }
    }
  }
}

TEST_P(LaneProducts, may_be_cut_anywhere) {
  GappedRows factors(29, 100, 4), values(100, 32, 5), whole(29, 32, 6), parts = whole;
  add_lane_products(factors.view(), values.view(), whole.view());
  for (const auto& [first, n] : {std::pair<int64_t, int64_t>{0, 37}, {37, 63}}) {
    for (const auto& [row, rows] : {std::pair<int64_t, int64_t>{0, 13}, {13, 16}}) {
      for (const int64_t column : {0, 16}) {
        add_lane_products(factors.view().slice_rows(row, rows).columns(first, n),
                          values.view().slice_rows(first, n).columns(column, 16),
                          parts.view().slice_rows(row, rows).columns(column, 16));
      }
    }
  }
  EXPECT_TRUE(equal_bits(whole, parts));
}

// Fused, the products below would leave 2^-60; rounded first they leave nothing.
TEST_P(LaneProducts, round_each_product) {
  const std::vector<double> factor{1 + 0x1p-30}, start(16, -(1 + 0x1p-29)), value(16, 1 + 0x1p-30);
  std::vector<double> sums = start;
  add_lane_products({factor.data(), 1, 1}, {value.data(), 1, 16}, {sums.data(), 1, 16});
  EXPECT_EQ(sums, std::vector<double>(16, 0.0));
}

}  // namespace
}  // namespace scute::lane_products_test
