#include "scute/kernels/elementwise.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <utility>
#include <vector>

#include "scute/kernels/reference.h"
#include "scute/kernels/test_targets.h"

namespace scute::elementwise_test {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr double kUlp = 0x1p-23;  // the spacing of floats, relative to them, at its widest
// Below this a result may have lost bits to gradual underflow.
constexpr double kSmall = 2.4e-38;

class Elementwise : public EachTarget {};
SCUTE_EACH_TARGET(Elementwise);

bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() &&
         (a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0);
}

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
  bool gaps_untouched() const {
    for (int64_t i = 0; i < std::ssize(values); ++i) {
      if (gap(i) && values[static_cast<size_t>(i)] != 77.0f) return false;
    }
    return true;
  }
};

/// The doubles that a reference writes.
struct Doubles {
  std::vector<double> values;
  MatView<double> view;
  Doubles(int64_t rows, int64_t cols)
      : values(static_cast<size_t>(rows * cols)), view(values.data(), rows, cols) {}
};

TEST_P(Elementwise, rms_norm_equals_the_reference) {
  // The mean is exact to double precision. Rounded to float: the factor and two products, half an
  // ulp each; 2 ulp in all leaves room for their compounding.
  for (const int64_t cols : kSizes) {
    for (const int64_t groups : {1, 2, 8}) {
      if (cols == 0 || cols % groups != 0) continue;
      Strided x(3, cols, 1, 50.0), y(3, cols, 2);
      const std::vector<float> weight = normal_values(cols, 3);
      Doubles expected(3, cols);
      rms_norm(x.view(), weight.data(), cols / groups, 1e-5f, y.view());
      reference::rms_norm(x.view(), weight.data(), cols / groups, 1e-5f, expected.view);
      for (int64_t r = 0; r < 3; ++r) {
        for (int64_t c = 0; c < cols; ++c) {
          const double e = expected.view.row(r)[c];
          EXPECT_NEAR(y.view().row(r)[c], e, 2 * kUlp * std::abs(e)) << cols << "/" << groups;
        }
      }
      EXPECT_TRUE(y.gaps_untouched());
      rms_norm(x.view(), weight.data(), cols / groups, 1e-5f, x.view());
      EXPECT_TRUE(same_bits(x.values, y.values)) << "in place";
    }
  }
}

TEST_P(Elementwise, rms_norm_without_weight_takes_ones) {
  Strided x(2, 37, 1), y(2, 37, 2), z(2, 37, 3);
  const std::vector<float> ones(37, 1.0f);
  rms_norm(x.view(), nullptr, 37, 1e-6f, y.view());
  rms_norm(x.view(), ones.data(), 37, 1e-6f, z.view());
  EXPECT_TRUE(same_bits(y.values, z.values));
}

TEST_P(Elementwise, rms_norm_survives_squares_beyond_float) {
  std::vector<float> x = {3e25f, -4e25f}, y(2);
  rms_norm({x.data(), 1, 2}, nullptr, 2, 1e-5f, {y.data(), 1, 2});
  EXPECT_NEAR(y[0], 3 / std::sqrt(12.5), 1e-6);
  EXPECT_NEAR(y[1], -4 / std::sqrt(12.5), 1e-6);
}

TEST_P(Elementwise, rms_norm_passes_nan_to_its_group_only) {
  std::vector<float> x = normal_values(64, 1), y(64);
  x[40] = kNan;
  rms_norm({x.data(), 2, 32}, nullptr, 16, 1e-5f, {y.data(), 2, 32});
  for (size_t i = 0; i < 64; ++i) EXPECT_EQ(std::isnan(y[i]), i >= 32 && i < 48) << i;
}

/// silu of each value: a convolution with one tap of weight one, or a gate on ones.
std::vector<float> silu_by_convolution(const std::vector<float>& x) {
  std::vector<float> y(x.size());
  const std::vector<float> one(x.size(), 1.0f);
  causal_conv_silu({x.data(), 1, std::ssize(x)}, one.data(), nullptr, 1, {},
                   {y.data(), 1, std::ssize(x)});
  return y;
}

TEST_P(Elementwise, silu_is_right_from_minus_to_plus_ten_thousand) {
  std::vector<float> x;
  for (float v = 1e-30f; v < 1.1e4f; v *= 1.01f) {
    x.push_back(v);
    x.push_back(-v);
  }
  x.insert(x.end(), {0.0f, -0.0f, 87.0f, -87.0f, 88.5f, -88.5f, 88.8f, -88.8f, 1e4f, -1e4f, 3e38f});
  const std::vector<float> y = silu_by_convolution(x);
  for (size_t i = 0; i < x.size(); ++i) {
    const double e = reference::silu(x[i]);
    // exp 2 ulp, the sum and the quotient half an ulp each. Below −88.7 e^−x leaves float's range
    // and the result is −0 where −x·e^x ≤ 88.8·2.9e-39 was meant.
    EXPECT_NEAR(y[i], e, 4 * kUlp * std::abs(e) + 3e-37) << x[i];
    if (x[i] > -80) {
      EXPECT_NEAR(y[i], e, 4 * kUlp * std::abs(e)) << x[i];
    }
    EXPECT_TRUE(std::isfinite(y[i])) << x[i];
  }
}

TEST_P(Elementwise, silu_passes_nan_and_infinity) {
  const std::vector<float> y = silu_by_convolution({kNan, kInf, -kInf, 1.0f});
  EXPECT_TRUE(std::isnan(y[0]));
  EXPECT_EQ(y[1], kInf);
  EXPECT_FALSE(std::isfinite(y[2]) && y[2] != 0) << y[2];  // −∞·0 is NaN, its limit 0
  EXPECT_NEAR(y[3], 0.7310585786, 3e-7);
}

TEST_P(Elementwise, gate_equals_the_reference) {
  for (const int64_t cols : kSizes) {
    Strided x(3, cols, 1), z(3, cols, 2, 4.0), y(3, cols, 3);
    Doubles expected(3, cols);
    gate_silu(x.view(), z.view(), y.view());
    reference::gate_silu(x.view(), z.view(), expected.view);
    for (int64_t r = 0; r < 3; ++r) {
      for (int64_t c = 0; c < cols; ++c) {
        const double e = expected.view.row(r)[c];  // silu 3.5 ulp, the product ½
        EXPECT_NEAR(y.view().row(r)[c], e, 4.5 * kUlp * std::abs(e) + kSmall) << cols;
      }
    }
    EXPECT_TRUE(y.gaps_untouched());
    gate_silu(x.view(), z.view(), x.view());
    EXPECT_TRUE(same_bits(x.values, y.values)) << "in place";
  }
}

TEST_P(Elementwise, add_and_copy_touch_their_columns_only) {
  for (const int64_t cols : kSizes) {
    Strided x(3, cols, 1), y(3, cols, 2), z(3, cols, 3);
    const Strided before = x;
    copy_rows(x.view(), z.view());
    EXPECT_TRUE(same_bits(x.values, z.values));
    add_into(x.view(), y.view());
    for (size_t i = 0; i < x.values.size(); ++i) {
      const bool inside = !x.gap(static_cast<int64_t>(i));
      EXPECT_EQ(x.values[i], inside ? before.values[i] + y.values[i] : before.values[i]) << cols;
    }
  }
}

TEST_P(Elementwise, clamp_equals_the_reference_exactly) {
  for (const int64_t cols : kSizes) {
    Strided x(3, cols, 1);
    Doubles expected(3, cols);
    reference::clamp(x.view(), -0.75f, 1.25f, expected.view);
    clamp(x.view(), -0.75f, 1.25f);
    for (int64_t r = 0; r < 3; ++r) {
      for (int64_t c = 0; c < cols; ++c) {
        EXPECT_EQ(static_cast<double>(x.view().row(r)[c]), expected.view.row(r)[c]) << cols;
      }
    }
    EXPECT_TRUE(x.gaps_untouched());
  }
}

TEST_P(Elementwise, clamp_keeps_nan_and_cuts_infinity) {
  for (const size_t at : {0u, 5u, 18u}) {  // within a vector and in the rest of a row
    std::vector<float> x(19, 3.0f);
    x[at] = kNan;
    x[at == 0 ? 1 : at - 1] = -kInf;
    clamp({x.data(), 1, 19}, -2.0f, 2.0f);
    for (size_t i = 0; i < 19; ++i) {
      if (i == at) {
        EXPECT_TRUE(std::isnan(x[i])) << i;
      } else {
        EXPECT_EQ(x[i], i == (at == 0 ? 1 : at - 1) ? -2.0f : 2.0f) << i;
      }
    }
  }
  std::vector<float> x = {-kInf, -1.0f, 5.0f, kInf};
  clamp({x.data(), 1, 4}, -kInf, 4.0f);
  EXPECT_EQ(x, (std::vector<float>{-kInf, -1.0f, 4.0f, 4.0f}));
}

struct Convolution {
  int64_t channels, taps;
  std::vector<float> weight, bias;
  Convolution(int64_t c, int64_t k)
      : channels(c), taps(k), weight(normal_values(c * k, 11)), bias(normal_values(c, 12)) {}
  void operator()(MatView<const float> x, std::vector<float>& cache, MatView<float> y) const {
    causal_conv_silu(x, weight.data(), bias.data(), taps, {cache.data(), taps - 1, channels}, y);
  }
};

TEST_P(Elementwise, convolution_equals_the_reference) {
  for (const int64_t channels : kSizes) {
    for (const int64_t taps : {1, 2, 4, 7, 32}) {
      for (const int64_t length : {0, 1, 2, 5, 40}) {
        const Convolution conv(channels, taps);
        Strided x(length, channels, 1), y(length, channels, 2);
        std::vector<float> cache = normal_values((taps - 1) * channels, 3);
        const std::vector<float> past = cache;
        Doubles expected(length, channels);
        reference::causal_conv_silu(x.view(), conv.weight.data(), conv.bias.data(), taps,
                                    {past.data(), taps - 1, channels}, expected.view);
        conv(x.view(), cache, y.view());
        for (int64_t t = 0; t < length; ++t) {
          for (int64_t c = 0; c < channels; ++c) {
            // Each of taps sums of terms |w·x| < 4.5² (normal values of these seeds) is rounded
            // once, by half an ulp of at most 20·taps; silu's slope is below 1.1. Then silu itself.
            const double e = expected.view.row(t)[c];
            const double rounding = 1.1 * static_cast<double>(taps * taps) * 20 * kUlp / 2;
            EXPECT_NEAR(y.view().row(t)[c], e, rounding + 4 * kUlp * std::abs(e));
          }
        }
        EXPECT_TRUE(y.gaps_untouched());
        for (int64_t r = 0; r < taps - 1; ++r) {  // row r of the cache is row r + length of all
          for (int64_t c = 0; c < channels; ++c) {
            const int64_t from = r + length - (taps - 1);
            const float e = from < 0 ? past[static_cast<size_t>((r + length) * channels + c)]
                                     : x.view().row(from)[c];
            EXPECT_EQ(cache[static_cast<size_t>(r * channels + c)], e);
          }
        }
      }
    }
  }
}

TEST_P(Elementwise, convolution_without_silu_equals_the_reference) {
  for (const int64_t channels : kSizes) {
    for (const int64_t taps : {1, 4}) {
      const Convolution conv(channels, taps);
      Strided x(9, channels, 1), y(9, channels, 2);
      std::vector<float> cache = normal_values((taps - 1) * channels, 3);
      Doubles expected(9, channels);
      reference::causal_conv(x.view(), conv.weight.data(), conv.bias.data(), taps,
                             {cache.data(), taps - 1, channels}, expected.view);
      causal_conv(x.view(), conv.weight.data(), conv.bias.data(), taps, 0, channels,
                  {cache.data(), taps - 1, channels}, y.view());
      for (int64_t t = 0; t < 9; ++t) {
        for (int64_t c = 0; c < channels; ++c) {
          // As above, without silu's slope.
          const double rounding = static_cast<double>(taps * taps) * 20 * kUlp / 2;
          EXPECT_NEAR(y.view().row(t)[c], expected.view.row(t)[c], rounding);
        }
      }
      EXPECT_TRUE(y.gaps_untouched());
      for (int64_t c = 0; taps > 1 && c < channels; ++c) {
        EXPECT_EQ(cache[static_cast<size_t>((taps - 2) * channels + c)], x.view().row(8)[c]);
      }
    }
  }
}

TEST_P(Elementwise, convolution_may_be_cut_anywhere) {
  const int64_t channels = 37, length = 23;
  for (const int64_t taps : {1, 2, 4, 32}) {
    const Convolution conv(channels, taps);
    Strided x(length, channels, 1), whole(length, channels, 2), parts(length, channels, 2);
    const auto past = normal_values((taps - 1) * channels, 3);
    std::vector<float> cache_whole = past, cache_parts = past;
    conv(x.view(), cache_whole, whole.view());
    for (int64_t t = 0, step = 1; t < length; t += step, ++step) {
      const int64_t rows = std::min(step, length - t);
      conv(x.view().slice_rows(t, rows), cache_parts, parts.view().slice_rows(t, rows));
    }
    EXPECT_TRUE(same_bits(whole.values, parts.values)) << taps;
    EXPECT_TRUE(same_bits(cache_whole, cache_parts)) << taps;
  }
}

TEST_P(Elementwise, convolution_may_be_split_over_channels) {
  const Convolution conv(37, 4);
  Strided x(9, 37, 1), whole(9, 37, 2), parts(9, 37, 2);
  std::vector<float> cache = normal_values(3 * 37, 3), cache_parts = cache;
  conv(x.view(), cache, whole.view());
  for (const auto& [first, count] : {std::pair<int64_t, int64_t>{0, 16}, {16, 1}, {17, 20}}) {
    causal_conv_silu(x.view(), conv.weight.data(), conv.bias.data(), 4, first, count,
                     {cache_parts.data(), 3, 37}, parts.view());
  }
  EXPECT_TRUE(same_bits(whole.values, parts.values));
  EXPECT_TRUE(same_bits(cache, cache_parts));
}

TEST_P(Elementwise, convolution_without_bias_takes_zeros_and_passes_nan) {
  Convolution conv(19, 4);
  conv.bias.assign(19, 0.0f);
  Strided x(9, 19, 1), y(9, 19, 2), z(9, 19, 2);
  x.view().row(3)[7] = kNan;
  std::vector<float> cache(3 * 19), again(3 * 19);
  conv(x.view(), cache, y.view());
  causal_conv_silu(x.view(), conv.weight.data(), nullptr, 4, {again.data(), 3, 19}, z.view());
  for (int64_t t = 0; t < 9; ++t) {
    for (int64_t c = 0; c < 19; ++c) {
      EXPECT_EQ(std::isnan(y.view().row(t)[c]), c == 7 && t >= 3 && t < 7) << t << " " << c;
      if (!std::isnan(y.view().row(t)[c])) {
        EXPECT_EQ(y.view().row(t)[c], z.view().row(t)[c]);
      }
    }
  }
}

TEST_P(Elementwise, log_sum_exp_equals_the_reference) {
  for (const int64_t n : kSizes) {
    for (const double offset : {0.0, 500.0, -500.0, 3e4}) {
      std::vector<float> x = normal_values(n, 7, 5.0);
      for (float& v : x) v += static_cast<float>(offset);
      const double e = reference::log_sum_exp(x.data(), n);
      if (n == 0) {
        EXPECT_EQ(log_sum_exp(x.data(), n), e);  // −∞
        continue;
      }
      // x − max is exact to half an ulp of at most 64, times its weight e^(x−max): under 2 ulp of 1
      // for the largest d·e^−d; exp 2 ulp; all sums are in double. The logarithm turns these
      // relative errors into absolute ones.
      EXPECT_NEAR(log_sum_exp(x.data(), n), e, 4 * kUlp) << n << " " << offset;
    }
  }
}

TEST_P(Elementwise, log_sum_exp_of_nan_and_infinities) {
  std::vector<float> x = normal_values(50, 7);
  x[33] = kInf;
  EXPECT_EQ(log_sum_exp(x.data(), 50), kInf);
  x[49] = kNan;
  EXPECT_TRUE(std::isnan(log_sum_exp(x.data(), 50)));
  x.assign(50, -kInf);
  EXPECT_EQ(log_sum_exp(x.data(), 50), -kInf);
  x[20] = 2.5f;
  EXPECT_NEAR(log_sum_exp(x.data(), 50), 2.5, 1e-12);
}

TEST_P(Elementwise, argmax_is_the_first_of_equals_and_never_nan) {
  for (const int64_t n : kSizes) {
    for (uint64_t seed = 0; seed < 20 && n > 0; ++seed) {
      std::vector<float> x = normal_values(n, seed, 1.5);
      for (float& v : x) v = std::round(v);  // many equals, and −0 beside +0
      if (seed % 3 == 0) x[static_cast<size_t>(n / 2)] = kNan;
      if (seed % 5 == 0) x[0] = kNan;
      if (seed % 7 == 0) x[static_cast<size_t>(n - 1)] = kInf;
      EXPECT_EQ(argmax(x.data(), n), reference::argmax(x.data(), n)) << n << " " << seed;
    }
  }
  const std::vector<float> nothing(40, kNan), least(40, -kInf);
  EXPECT_EQ(argmax(nothing.data(), 40), 0);
  EXPECT_EQ(argmax(least.data(), 40), 0);
}

}  // namespace
}  // namespace scute::elementwise_test
