#include "scute/kernels/attention.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "scute/kernels/reference_attention.h"
#include "scute/kernels/test_targets.h"

namespace scute::attention_test {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr double kRound = 0x1p-24;  // the most that rounding to float changes, relative
// Below this a result may have lost bits to gradual underflow.
constexpr double kSmall = 2.4e-38;

class Attention : public EachTarget {};
SCUTE_EACH_TARGET(Attention);

/// A matrix inside wider rows whose gaps hold 77, to see what is touched.
struct Strided {
  int64_t rows, cols, stride;
  std::vector<float> values;
  Strided(int64_t r, int64_t c, uint64_t seed, double scale = 1.0)
      : rows(r), cols(c), stride(c + 5), values(normal_values(r * (c + 5) + 1, seed, scale)) {
    for (int64_t i = 0; i < std::ssize(values); ++i) {
      if (gap(i)) values[static_cast<size_t>(i)] = 77.0f;
    }
  }
  bool gap(int64_t i) const { return i % stride >= cols || i == rows * stride; }
  MatView<float> view() { return {values.data(), rows, cols, stride}; }
  MatView<const float> read() const { return {values.data(), rows, cols, stride}; }
  bool gaps_untouched() const {
    for (int64_t i = 0; i < std::ssize(values); ++i) {
      if (gap(i) && values[static_cast<size_t>(i)] != 77.0f) return false;
    }
    return true;
  }
};

struct Doubles {
  std::vector<double> values;
  MatView<double> view;
  Doubles(int64_t rows, int64_t cols)
      : values(static_cast<size_t>(rows * cols)), view(values.data(), rows, cols) {}
  double at(int64_t r, int64_t c) const { return view.row(r)[c]; }
};

bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() &&
         (a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0);
}
bool same_row(const float* a, const float* b, int64_t n) {
  return std::memcmp(a, b, static_cast<size_t>(n) * sizeof(float)) == 0;
}

TEST_P(Attention, layer_norm_equals_the_reference) {
  // The moments and x − mean are exact to double precision. Rounded to float: the normalized value,
  // its product with the weight, and the sum with the bias.
  for (const int64_t cols : kSizes) {
    for (const double offset : {0.0, 1e4}) {
      Strided x(3, cols, 1, 50.0), y(3, cols, 2);
      for (int64_t r = 0; r < 3; ++r) {
        for (int64_t c = 0; c < cols; ++c) x.view().row(r)[c] += static_cast<float>(offset);
      }
      const std::vector<float> weight = normal_values(cols, 3), bias = normal_values(cols, 4);
      Doubles expected(3, cols);
      layer_norm(x.read(), weight.data(), bias.data(), 1e-6f, y.view());
      reference::layer_norm(x.read(), weight.data(), bias.data(), 1e-6f, expected.view);
      for (int64_t r = 0; r < 3; ++r) {
        for (int64_t c = 0; c < cols; ++c) {
          const double e = expected.at(r, c);
          const double product = std::abs(e - static_cast<double>(bias[static_cast<size_t>(c)]));
          EXPECT_NEAR(y.view().row(r)[c], e, (2.01 * product + 1.01 * std::abs(e)) * kRound)
              << cols;
        }
      }
      EXPECT_TRUE(y.gaps_untouched());
      layer_norm(x.read(), weight.data(), bias.data(), 1e-6f, x.view());
      EXPECT_TRUE(same_bits(x.values, y.values)) << "in place";
    }
  }
}

TEST_P(Attention, layer_norm_keeps_nan_in_its_row_and_a_constant_row_at_the_bias) {
  Strided x(3, 37, 1), y(3, 37, 2);
  x.view().row(1)[36] = kNan;
  std::fill_n(x.view().row(2), 37, 3.3f);
  const std::vector<float> weight = normal_values(37, 3), bias = normal_values(37, 4);
  layer_norm(x.read(), weight.data(), bias.data(), 1e-6f, y.view());
  for (int64_t c = 0; c < 37; ++c) {
    EXPECT_FALSE(std::isnan(y.view().row(0)[c])) << c;
    EXPECT_TRUE(std::isnan(y.view().row(1)[c])) << c;
    EXPECT_NEAR(y.view().row(2)[c], bias[static_cast<size_t>(c)], 1e-9) << c;
  }
}

TEST_P(Attention, gelu_is_right_from_minus_fourteen_to_ten_thousand) {
  std::vector<float> x = {0.0f, -0.0f, 3e38f};
  for (float v = 1e-30f; v < 1e-3f; v *= 1.1f) x.insert(x.end(), {v, -v});
  for (float v = 1e-3f; v < 1e4f; v *= 1.0001f) {
    x.push_back(v);
    if (v < 14) x.push_back(-v);
  }
  std::vector<float> y = x;
  gelu({y.data(), 1, std::ssize(y)});
  for (size_t i = 0; i < x.size(); ++i) {
    const double e = reference::gelu(x[i]);
    // As gelu.cc derives; the square matters where e^(−x²/2) is the result, not 1 less it.
    const double square = x[i] < 0 ? static_cast<double>(x[i]) * static_cast<double>(x[i]) : 0.0;
    // 14 times what is flushed to zero, 2^−126.
    const double most = (9 + 2.5 * square) * kRound * std::abs(e) + 14 * 0x1p-126;
    ASSERT_NEAR(y[i], e, most) << x[i];
    EXPECT_EQ(std::signbit(y[i]), std::signbit(x[i])) << x[i];
  }
}

TEST_P(Attention, gelu_of_nan_infinities_and_far_below_zero) {
  for (const size_t n : {5u, 16u, 21u}) {
    std::vector<float> x(n, 1.0f);
    x[0] = kNan;
    x[1] = kInf;
    x[2] = -kInf;
    x[3] = -50.0f;
    x[n - 1] = -3e38f;
    gelu({x.data(), 1, static_cast<int64_t>(n)});
    EXPECT_TRUE(std::isnan(x[0]));
    EXPECT_EQ(x[1], kInf);
    EXPECT_TRUE(std::isnan(x[2]));
    EXPECT_EQ(x[3], 0.0f);
    EXPECT_EQ(x[n - 1], 0.0f);
  }
}

TEST_P(Attention, gelu_touches_its_columns_only_and_no_value_knows_its_lane) {
  for (const int64_t cols : kSizes) {
    Strided x(3, cols, 1, 2.0);
    const Strided before = x;
    gelu(x.view());
    EXPECT_TRUE(x.gaps_untouched());
    for (int64_t c = 0; c < cols; ++c) {
      float alone = before.read().row(1)[c];
      gelu({&alone, 1, 1});
      EXPECT_EQ(x.view().row(1)[c], alone) << cols;
    }
  }
}

TEST_P(Attention, sums_of_rows_equal_the_reference) {
  for (const int64_t cols : kSizes) {
    const Strided x(3, cols, 1), y(3, cols, 2);
    const std::vector<float> factors = normal_values(cols, 3);
    Strided row = x, scaled = x, plain = x;
    Doubles row_e(3, cols), scaled_e(3, cols), plain_e(3, cols);
    add_row(row.view(), factors.data());
    add_scaled(scaled.view(), y.read(), factors.data());
    add_scaled(plain.view(), y.read(), nullptr);
    reference::add_row(x.read(), factors.data(), row_e.view);
    reference::add_scaled(x.read(), y.read(), factors.data(), scaled_e.view);
    reference::add_scaled(x.read(), y.read(), nullptr, plain_e.view);
    for (int64_t r = 0; r < 3; ++r) {
      for (int64_t c = 0; c < cols; ++c) {
        // One rounding of an exact sum of two floats; before it that of the product.
        EXPECT_EQ(row.view().row(r)[c], static_cast<float>(row_e.at(r, c))) << cols;
        EXPECT_EQ(plain.view().row(r)[c], static_cast<float>(plain_e.at(r, c))) << cols;
        const double e = scaled_e.at(r, c);
        const double product = std::abs(e - static_cast<double>(x.read().row(r)[c]));
        EXPECT_NEAR(scaled.view().row(r)[c], e, (1.01 * std::abs(e) + product) * kRound) << cols;
      }
    }
    EXPECT_TRUE(row.gaps_untouched() && scaled.gaps_untouched() && plain.gaps_untouched());
  }
}

struct Head {
  Strided q, k, v, y;
  float scale;
  Head(int64_t queries, int64_t keys, int64_t width, double spread = 1.0)
      : q(queries, width, 1, spread),
        k(keys, width, 2),
        v(keys, width, 3),
        y(queries, width, 4),
        scale(static_cast<float>(1 / std::sqrt(static_cast<double>(std::max<int64_t>(width, 1))))) {
  }

  /// The scratch memory begins at no multiple of a vector; neither side of it may be touched.
  void run(MatView<const float> some_q, MatView<float> to) const {
    const auto size = static_cast<size_t>(attention_scratch(k.rows, k.cols));
    std::vector<float> scratch(size + 2, kNan);
    scratch.front() = scratch.back() = 77.0f;
    attention(some_q, k.read(), v.read(), scale, scratch.data() + 1, to);
    EXPECT_EQ(scratch.front(), 77.0f);
    EXPECT_EQ(scratch.back(), 77.0f);
  }
  void run() { run(q.read(), y.view()); }
};

/// The largest over the keys of Σ |q·k| · scale, for one query.
double largest_magnitude(const Head& head, int64_t query) {
  double most = 0;
  for (int64_t key = 0; key < head.k.rows; ++key) {
    double sum = 0;
    for (int64_t c = 0; c < head.k.cols; ++c) {
      sum += std::abs(static_cast<double>(head.q.read().row(query)[c]) *
                      static_cast<double>(head.k.read().row(key)[c]));
    }
    most = std::max(most, sum * static_cast<double>(head.scale));
  }
  return most;
}

void expect_twin(int64_t queries, int64_t keys, int64_t width, double spread) {
  SCOPED_TRACE(testing::Message() << queries << " x " << keys << " x " << width << ", " << spread);
  Head head(queries, keys, width, spread);
  head.run();
  Doubles expected(queries, width), magnitude(queries, width);
  reference::attention(head.q.read(), head.k.read(), head.v.read(), head.scale, expected.view);
  Strided sizes = head.v;
  for (float& v : sizes.values) v = std::abs(v);
  reference::attention(head.q.read(), head.k.read(), sizes.read(), head.scale, magnitude.view);
  for (int64_t r = 0; r < queries; ++r) {
    // With M = max Σ |q·k| · scale, in units of 2^−24: a score is off by (width + 2) · M: each
    // query and product rounds once, and each sum. Less the largest, which is at most 2·M and
    // cancels between a weight and their sum, it rounds three times on its way to a power of 2, by
    // 6·M; the power is off by 2 ulp, or 4. So much a weight, once more their sum, and 2 for its
    // rounding and the quotient's. The sum over the keys rounds each product and each sum.
    const double score = static_cast<double>(width + 8) * largest_magnitude(head, r);
    const double bound = (2 * (score + 4) + 2 + static_cast<double>(keys + 1)) * kRound * 1.01;
    for (int64_t c = 0; c < width; ++c) {
      const double most = bound * magnitude.at(r, c) + kSmall * static_cast<double>(keys) * 10;
      ASSERT_NEAR(head.y.view().row(r)[c], expected.at(r, c), most) << r << ", " << c;
    }
  }
  EXPECT_TRUE(head.y.gaps_untouched());
}

TEST_P(Attention, equals_the_reference) {
  for (const int64_t n : kSizes) {
    if (n > 0 && n < 1000) expect_twin(9, n, 18, 1.0);
    if (n < 1000) expect_twin(n, 21, 16, 1.0);
    if (n < 1000) expect_twin(5, 12, n, 3.0);
  }
  expect_twin(7, 734, 64, 1.0);
  expect_twin(7, 729, 72, 8.0);
  expect_twin(50, 1024, 33, 2.0);
}

TEST_P(Attention, a_row_has_the_same_bits_alone_and_in_any_order) {
  constexpr int64_t kQueries = 61, kWidth = 24;
  Head head(kQueries, 75, kWidth, 2.0);
  head.run();
  Strided reversed = head.q, out = head.y;
  for (int64_t r = 0; r < kQueries; ++r) {
    std::copy_n(head.q.view().row(r), kWidth, reversed.view().row(kQueries - 1 - r));
  }
  head.run(reversed.read(), out.view());
  for (int64_t r = 0; r < kQueries; ++r) {
    EXPECT_TRUE(same_row(head.y.view().row(r), out.view().row(kQueries - 1 - r), kWidth)) << r;
    std::vector<float> alone(kWidth);
    head.run(head.q.read().slice_rows(r, 1), {alone.data(), 1, kWidth});
    EXPECT_TRUE(same_row(head.y.view().row(r), alone.data(), kWidth)) << r;
  }
  head.run(head.q.read(), head.q.view());
  EXPECT_TRUE(same_row(head.q.view().row(60), head.y.view().row(60), kWidth)) << "in place";
}

TEST_P(Attention, nan_in_a_query_stays_in_its_row) {
  for (const int64_t keys : {1, 21, 64}) {
    Head head(30, keys, 18), clean(30, keys, 18);
    head.q.view().row(25)[17] = kNan;
    head.run();
    clean.run();
    for (int64_t r = 0; r < 30; ++r) {
      for (int64_t c = 0; c < 18; ++c) {
        const float value = head.y.view().row(r)[c];
        if (r == 25) {
          EXPECT_TRUE(std::isnan(value)) << c;
        } else {
          EXPECT_EQ(value, clean.y.view().row(r)[c]) << r;
        }
      }
    }
  }
}

TEST_P(Attention, one_key_returns_its_value) {
  Head head(9, 1, 18, 100.0);
  head.run();
  for (int64_t r = 0; r < 9; ++r) {
    EXPECT_TRUE(same_row(head.y.view().row(r), head.v.view().row(0), 18)) << r;
  }
}

// Values are whole numbers: their sum is exact, so that the quotient alone rounds.
TEST_P(Attention, equal_scores_give_the_mean_of_the_values) {
  for (const int64_t keys : {2, 21, 33, 734}) {
    Head head(5, keys, 18);
    std::vector<double> sums(18);
    for (int64_t key = 0; key < keys; ++key) {
      std::copy_n(head.k.view().row(0), 18, head.k.view().row(key));
      for (int64_t c = 0; c < 18; ++c) {
        float& v = head.v.view().row(key)[c];
        v = std::round(10 * v);
        sums[static_cast<size_t>(c)] += static_cast<double>(v);
      }
    }
    head.run();
    for (int64_t r = 0; r < 5; ++r) {
      for (int64_t c = 0; c < 18; ++c) {
        const double mean = sums[static_cast<size_t>(c)] / static_cast<double>(keys);
        EXPECT_EQ(head.y.view().row(r)[c], static_cast<float>(mean)) << keys;
      }
    }
  }
}

// Scores up to 3e6 would overflow e^x; the next largest is more than 88 below: the weight is 0
// or 1.
TEST_P(Attention, a_key_far_ahead_wins_alone_and_all_scores_may_be_far_below_zero) {
  for (const float sign : {1.0f, -1.0f}) {
    Head head(7, 40, 16);
    head.scale = 1.0f;
    for (int64_t r = 0; r < 7; ++r) std::fill_n(head.q.view().row(r), 16, sign * 1000.0f);
    for (int64_t key = 0; key < 40; ++key) {
      std::fill_n(head.k.view().row(key), 16, 200.0f - static_cast<float>(key));
    }
    head.run();
    const int64_t winner = sign > 0 ? 0 : 39;
    for (int64_t r = 0; r < 7; ++r) {
      EXPECT_TRUE(same_row(head.y.view().row(r), head.v.view().row(winner), 16)) << r;
    }
  }
}

}  // namespace
}  // namespace scute::attention_test
