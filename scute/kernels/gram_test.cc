#include "scute/kernels/gram.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "scute/kernels/reference_gram.h"
#include "scute/kernels/test_targets.h"

namespace scute::gram_test {
namespace {

class Gram : public EachTarget {};
SCUTE_EACH_TARGET(Gram);

/// x in wider rows, whose gaps hold NaN, and its sums with 77 before and behind them.
struct Case {
  static constexpr size_t kGap = 8;
  int64_t rows, n, x_stride;
  std::vector<float> x;
  std::vector<double> sums;
  Case(int64_t rows_, int64_t n_, double start = 0)
      : rows(rows_),
        n(n_),
        x_stride(n_ + 3),
        x(normal_values(rows_ * (n_ + 3), static_cast<uint64_t>(n_ + 1))),
        sums(static_cast<size_t>(TriangleView<double>::count(n_)) + 2 * kGap, 77.0) {
    for (int64_t t = 0; t < rows; ++t) {
      for (int64_t c = n; c < x_stride; ++c) at(t, c) = std::numeric_limits<float>::quiet_NaN();
    }
    for (int64_t i = 0; i < n; ++i) {
      for (int64_t j = i; j < n; ++j) sum(i, j) = start;
    }
  }
  float& at(int64_t t, int64_t c) { return x[static_cast<size_t>(t * x_stride + c)]; }
  double& sum(int64_t i, int64_t j) { return view().row(i)[j]; }
  MatView<const float> x_view() const { return {x.data(), rows, n, x_stride}; }
  TriangleView<double> view() { return {sums.data() + kGap, n}; }
  void run() { add_gram(x_view(), view()); }
};

void expect_twin(int64_t rows, int64_t n, double start) {
  SCOPED_TRACE(testing::Message() << rows << " x " << n);
  Case gram(rows, n, start);
  gram.run();
  const ReferenceGram expected = reference_gram(gram.x_view());
  // Of a tile's T ≤ 128 products each rounds once where there is no fused multiply-add, and each of
  // its T sums once, by 2^−24 of at most the sum of the magnitudes: (T + 1)·2^−24. In double, and
  // in the reference, less than 1000 sums round by 2^−53 of that and of the start.
  const auto depth = static_cast<double>(std::min<int64_t>(rows, 128));
  for (size_t i = 0; i < Case::kGap; ++i) {
    ASSERT_EQ(gram.sums[i], 77.0);
    ASSERT_EQ(gram.sums[gram.sums.size() - 1 - i], 77.0);
  }
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t j = i; j < n; ++j) {
      const auto at = static_cast<size_t>(i * n + j);
      const double magnitude = expected.magnitudes[at];
      const double most = (depth + 1) * 0x1p-24 * magnitude + 0x1p-43 * (magnitude + start);
      ASSERT_NEAR(gram.sum(i, j), start + expected.values[at], most) << i << ", " << j;
    }
  }
}

TEST_P(Gram, equals_the_reference_and_writes_the_triangle_alone) {
  for (const int64_t n : kSizes) {
    if (n < 1000) expect_twin(5, n, 3.0);
  }
  for (const int64_t n : {6, 33, 121, 127, 128, 129, 161, 260}) {
    for (const int64_t rows : {0, 1, 127, 128, 129, 300}) expect_twin(rows, n, 0.0);
  }
}

// All products and sums are whole numbers below 2^24.
TEST_P(Gram, is_exact_where_floats_are) {
  Case gram(300, 1000);
  for (int64_t t = 0; t < gram.rows; ++t) {
    for (int64_t c = 0; c < gram.n; ++c) gram.at(t, c) = static_cast<float>((t * 31 + c * 17) % 9);
  }
  gram.run();
  for (const int64_t i : {0, 1, 7, 8, 119, 120, 127, 128, 500, 992, 999}) {
    for (int64_t j = i; j < gram.n; ++j) {
      int64_t sum = 0;
      for (int64_t t = 0; t < gram.rows; ++t) {
        sum += ((t * 31 + i * 17) % 9) * ((t * 31 + j * 17) % 9);
      }
      ASSERT_EQ(gram.sum(i, j), static_cast<double>(sum)) << i << ", " << j;
    }
  }
}

// 2^24 + 1 is no float: tiles that were added in f32 would lose the ones.
TEST_P(Gram, adds_tiles_in_double) {
  Case gram(256, 3);
  for (int64_t t = 0; t < 256; ++t) {
    for (int64_t c = 0; c < 3; ++c) gram.at(t, c) = 0;
  }
  gram.at(0, 0) = gram.at(0, 1) = 4096;
  gram.at(128, 0) = gram.at(255, 1) = gram.at(128, 1) = 1;
  gram.run();
  EXPECT_EQ(gram.sum(0, 0), 0x1p24 + 1);
  EXPECT_EQ(gram.sum(0, 1), 0x1p24 + 1);
  EXPECT_EQ(gram.sum(1, 1), 0x1p24 + 2);
  EXPECT_EQ(gram.sum(0, 2), 0.0);
}

TEST_P(Gram, may_be_cut_between_tiles) {
  Case whole(300, 75), parts(300, 75);
  whole.run();
  add_gram(parts.x_view().slice_rows(0, 128), parts.view());
  add_gram(parts.x_view().slice_rows(128, 172), parts.view());
  EXPECT_EQ(whole.sums, parts.sums);
}

TEST_P(Gram, an_entry_does_not_depend_on_its_place) {
  Case all(150, 140), some(150, 70);
  all.run();
  add_gram(all.x_view().columns(37, 70), some.view());
  for (int64_t i = 0; i < 70; ++i) {
    for (int64_t j = i; j < 70; ++j) ASSERT_EQ(some.sum(i, j), all.sum(i + 37, j + 37));
  }
}

TEST_P(Gram, nan_and_infinity_stay_in_their_columns) {
  Case clean(140, 131), gram(140, 131);
  clean.run();
  gram.at(130, 40) = std::numeric_limits<float>::quiet_NaN();
  gram.at(3, 129) = -std::numeric_limits<float>::infinity();
  gram.run();
  for (int64_t i = 0; i < gram.n; ++i) {
    for (int64_t j = i; j < gram.n; ++j) {
      if (i == 40 || j == 40) {
        ASSERT_TRUE(std::isnan(gram.sum(i, j))) << i << ", " << j;
      } else if (i == 129 || j == 129) {
        ASSERT_TRUE(std::isinf(gram.sum(i, j))) << i << ", " << j;
      } else {
        ASSERT_EQ(gram.sum(i, j), clean.sum(i, j)) << i << ", " << j;
      }
    }
  }
}

}  // namespace
}  // namespace scute::gram_test
