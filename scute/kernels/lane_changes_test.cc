#include "scute/kernels/lane_changes.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <limits>
#include <vector>

#include "scute/base/random.h"
#include "scute/kernels/reference_lane_changes.h"
#include "scute/kernels/test_targets.h"

namespace scute::lane_changes_test {
namespace {

class LaneChanges : public EachTarget {};
SCUTE_EACH_TARGET(LaneChanges);

/// Rows with gaps that hold NaN, so that reading or writing one shows; a share of the values is
/// not zero.
struct SparseRows {
  int64_t rows, cols;
  std::vector<double> values;
  SparseRows(int64_t rows_, int64_t cols_, uint64_t seed, double share = 1)
      : rows(rows_), cols(cols_) {
    Random random(seed);
    values.assign(static_cast<size_t>(rows * (cols + 3)), std::numeric_limits<double>::quiet_NaN());
    for (int64_t r = 0; r < rows; ++r) {
      for (int64_t c = 0; c < cols; ++c) {
        const double value = random.normal();
        view().row(r)[c] = random.uniform() < share ? value : 0;
      }
    }
  }
  MatView<double> view() { return {values.data(), rows, cols, cols + 3}; }
  bool operator==(const SparseRows& other) const {
    return values.size() == other.values.size() &&
           (values.empty() ||
            std::memcmp(values.data(), other.values.data(), 8 * values.size()) == 0);
  }
};

TEST_P(LaneChanges, are_the_bits_of_plain_loops) {
  for (const int64_t rows : {0, 1, 11, 12, 13, 16, 17, 131}) {
    for (const int64_t n : {0, 1, 2, 63, 64}) {
      for (const double share : {0.0, 0.02, 0.3, 1.0}) {
        for (const int64_t columns : {16, 32, 48}) {
          SCOPED_TRACE(testing::Message()
                       << rows << " x " << n << " x " << columns << ", " << share);
          SparseRows factors(rows, n, 1), changes(n, columns, 2, share), sums(rows, columns, 3);
          SparseRows scaled(rows, columns, 4), scales(1, columns, 5);
          SparseRows alone = sums, expected = sums, expected_scaled = scaled;
          const double* s = scales.view().data;
          reference_lane_changes(factors.view(), changes.view(), expected.view(), s,
                                 expected_scaled.view());
          add_lane_changes(factors.view(), changes.view(), alone.view());
          ASSERT_EQ(alone, expected);
          add_lane_changes(factors.view(), changes.view(), sums.view(), s, scaled.view());
          ASSERT_EQ(sums, expected);
          ASSERT_EQ(scaled, expected_scaled);
        }
      }
    }
  }
}

TEST_P(LaneChanges, scaled_lanes_are_the_bits_of_plain_loops) {
  for (const int64_t rows : {0, 1, 7, 130}) {
    SparseRows from(rows, 32, 6), scales(1, 32, 7), to(rows, 32, 8), expected = to;
    add_scaled_lanes(from.view(), scales.view().data, to.view());
    reference_scaled_lanes(from.view(), scales.view().data, expected.view());
    ASSERT_EQ(to, expected);
  }
}

// Fused, the products below would leave 2^-60; rounded first they leave nothing.
TEST_P(LaneChanges, round_each_product) {
  const std::vector<double> factor{1, 1 + 0x1p-30}, scale(16, 1 + 0x1p-30);
  std::vector<double> change(32, 1 + 0x1p-30);
  std::fill_n(change.begin(), 16, -(1 + 0x1p-29));
  std::vector<double> sums(16, 0.0), to(16, -(1 + 0x1p-29)), from(16, 1 + 0x1p-30);
  add_lane_changes({factor.data(), 1, 2}, {change.data(), 2, 16}, {sums.data(), 1, 16});
  EXPECT_EQ(sums, std::vector<double>(16, 0.0));
  add_scaled_lanes({from.data(), 1, 16}, scale.data(), {to.data(), 1, 16});
  EXPECT_EQ(to, std::vector<double>(16, 0.0));
  const std::vector<double> one{1};
  sums.assign(16, 0.0);
  to.assign(16, -(1 + 0x1p-29));
  add_lane_changes({one.data(), 1, 1}, {from.data(), 1, 16}, {sums.data(), 1, 16}, scale.data(),
                   {to.data(), 1, 16});
  EXPECT_EQ(to, std::vector<double>(16, 0.0));
}

}  // namespace
}  // namespace scute::lane_changes_test
