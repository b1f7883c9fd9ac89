#include "scute/kernels/windows.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "scute/kernels/reference_windows.h"
#include "scute/kernels/test_targets.h"

namespace scute::windows_test {
namespace {

constexpr double kUlp = 0x1p-23;  // the spacing of floats, relative to them, at its widest

class Windows : public EachTarget {};
SCUTE_EACH_TARGET(Windows);

/// Rows with a gap behind each, which holds 77.
struct Strided {
  int64_t rows, cols, stride;
  std::vector<float> values;
  Strided(int64_t r, int64_t c, uint64_t seed, double scale = 1.0)
      : rows(r), cols(c), stride(c + 3), values(normal_values(r * (c + 3), seed, scale)) {
    for (size_t i = 0; i < values.size(); ++i) {
      if (static_cast<int64_t>(i) % stride >= cols) values[i] = 77.0f;
    }
  }
  MatView<float> view() { return {values.data(), rows, cols, stride}; }
  bool gaps_untouched() const {
    for (size_t i = 0; i < values.size(); ++i) {
      if (static_cast<int64_t>(i) % stride >= cols && values[i] != 77.0f) return false;
    }
    return true;
  }
};

struct Doubles {
  std::vector<double> values;
  MatView<double> view;
  Doubles(int64_t rows, int64_t cols)
      : values(static_cast<size_t>(rows * cols)), view(values.data(), rows, cols) {}
};

bool same_bits(MatView<const float> a, MatView<const float> b) {
  for (int64_t r = 0; r < a.rows; ++r) {
    if (a.cols > 0 && std::memcmp(a.row(r), b.row(r), static_cast<size_t>(a.cols) * 4) != 0) {
      return false;
    }
  }
  return true;
}

TEST_P(Windows, silu_equals_the_reference) {
  for (const int64_t cols : kSizes) {
    Strided x(3, cols, 1, 5.0), y(3, cols, 2);
    Doubles expected(3, cols);
    silu(x.view(), y.view());
    reference::silu(x.view(), expected.view);
    for (int64_t r = 0; r < 3; ++r) {
      for (int64_t c = 0; c < cols; ++c) {
        const double e = expected.view.row(r)[c];
        // exp 2 ulp, the sum and the quotient half an ulp each.
        EXPECT_NEAR(y.view().row(r)[c], e, 4 * kUlp * std::abs(e)) << cols;
      }
    }
    EXPECT_TRUE(y.gaps_untouched());
    silu(x.view(), x.view());
    EXPECT_TRUE(same_bits(x.view(), y.view())) << "in place";
  }
}

TEST_P(Windows, convolution_equals_the_reference_and_stays_in_its_window) {
  for (const int64_t cols : kSizes) {
    for (const auto& [taps, before] : {std::pair<int64_t, int64_t>{1, 0}, {4, 3}, {5, 2}}) {
      for (const int64_t length : {1, 2, 3, 7}) {
        const auto weight = normal_values(taps * cols, 3), bias = normal_values(cols, 4);
        const WindowConv conv{weight.data(), bias.data(), taps, before};
        Strided x(3 * length, cols, 1), y(3 * length, cols, 2), alone(length, cols, 5);
        Doubles expected(3 * length, cols);
        window_conv_silu(conv, x.view(), length, y.view());
        reference::window_conv_silu(conv, x.view(), length, expected.view);
        for (int64_t r = 0; r < 3 * length; ++r) {
          for (int64_t c = 0; c < cols; ++c) {
            double magnitude = std::abs(double{bias[static_cast<size_t>(c)]});
            for (int64_t k = 0; k < taps; ++k) {
              const int64_t from = r + k - before;
              if (from < r / length * length || from >= r / length * length + length) continue;
              magnitude += std::abs(double{weight[static_cast<size_t>(k * cols + c)]} *
                                    double{x.view().row(from)[c]});
            }
            const double e = expected.view.row(r)[c];
            // taps sums of half an ulp each, and silu, whose slope is at most 1.1.
            const double bound = 1.1 * static_cast<double>(taps) * 0.5 * kUlp * magnitude;
            EXPECT_NEAR(y.view().row(r)[c], e, bound + 4 * kUlp * std::abs(e)) << cols;
          }
        }
        EXPECT_TRUE(y.gaps_untouched());
        window_conv_silu(conv, x.view().slice_rows(length, length), length, alone.view());
        EXPECT_TRUE(same_bits(alone.view(), y.view().slice_rows(length, length)));
      }
    }
  }
}

TEST_P(Windows, convolution_passes_nan_to_its_neighbours_only) {
  for (const int64_t cols : {1, 5, 17}) {
    const std::vector<float> weight(static_cast<size_t>(5 * cols), 1.0f);
    const std::vector<float> bias(static_cast<size_t>(cols), 0.0f);
    Strided x(8, cols, 1), y(8, cols, 2);
    x.view().row(4)[cols - 1] =
        std::numeric_limits<float>::quiet_NaN();  // the second window's first
    window_conv_silu({weight.data(), bias.data(), 5, 2}, x.view(), 4, y.view());
    for (int64_t r = 0; r < 8; ++r) {
      for (int64_t c = 0; c < cols; ++c) {
        const bool reached = c == cols - 1 && r >= 4 && r <= 6;
        EXPECT_EQ(std::isnan(y.view().row(r)[c]), reached) << r << " " << c;
      }
    }
    silu(x.view(), y.view());
    EXPECT_TRUE(std::isnan(y.view().row(4)[cols - 1]));
  }
}

TEST_P(Windows, scan_equals_the_reference_and_begins_anew_in_each_window) {
  for (const int64_t cols : kSizes) {
    for (const int64_t length : {1, 2, 7}) {
      Strided x(3 * length, cols, 1, 2.0), logit(3 * length, cols, 2, 4.0);
      Strided y(3 * length, cols, 3), alone(length, cols, 4);
      Doubles expected(3 * length, cols);
      window_mean_scan(x.view(), logit.view(), length, y.view());
      reference::window_mean_scan(x.view(), logit.view(), length, expected.view);
      for (int64_t c = 0; c < cols; ++c) {
        double largest = 0;
        for (int64_t r = 0; r < 3 * length; ++r) {
          largest = std::max(largest, std::abs(double{x.view().row(r)[c]}));
          // λ is 4 ulp wrong at most, twice (λ and 1 − λ), products and sum 1.5 ulp, of values that
          // never exceed the largest |x|; the errors of earlier steps are damped by λ < 1.
          const double bound = static_cast<double>(length) * 10 * kUlp * largest;
          EXPECT_NEAR(y.view().row(r)[c], expected.view.row(r)[c], bound) << cols;
        }
      }
      EXPECT_TRUE(y.gaps_untouched());
      window_mean_scan(x.view().slice_rows(length, length), logit.view().slice_rows(length, length),
                       length, alone.view());
      EXPECT_TRUE(same_bits(alone.view(), y.view().slice_rows(length, length)));
      window_mean_scan(x.view(), logit.view(), length, x.view());
      EXPECT_TRUE(same_bits(x.view(), y.view())) << "in place";
    }
  }
}

TEST_P(Windows, scan_with_extreme_leaks_keeps_or_replaces) {
  const float inf = std::numeric_limits<float>::infinity();
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const std::vector<float> x{1, 2, 3, 4, 5, 6, 7, 8, 9, 10};  // 2 rows × 5
  const std::vector<float> logit{-inf, -1e4f, -1e4f, -1e4f, 0, inf, 1e4f, -1e4f, nan, 0};
  std::vector<float> y(10);
  window_mean_scan({x.data(), 2, 5}, {logit.data(), 2, 5}, 2, {y.data(), 2, 5});
  EXPECT_EQ(std::vector<float>(y.begin(), y.begin() + 5), (std::vector<float>{1, 2, 3, 4, 2.5f}));
  EXPECT_EQ(y[5], 1);  // λ = 1 keeps
  EXPECT_EQ(y[6], 2);
  EXPECT_EQ(y[7], 8);  // λ = 0 replaces
  EXPECT_TRUE(std::isnan(y[8]));
  EXPECT_EQ(y[9], 6.25f);
}

}  // namespace
}  // namespace scute::windows_test
