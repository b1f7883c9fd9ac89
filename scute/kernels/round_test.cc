#include "scute/kernels/round.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "scute/kernels/reference_round.h"
#include "scute/kernels/test_targets.h"

namespace scute::round_test {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kSmallest = std::numeric_limits<float>::min();
constexpr float kLargest = std::numeric_limits<float>::max();

class Round : public EachTarget {};
SCUTE_EACH_TARGET(Round);

/// A matrix inside wider rows whose gaps hold 77, to see what is touched.
template <class T>
struct Strided {
  int64_t rows, cols, stride;
  std::vector<T> values;
  Strided(int64_t r, int64_t c)
      : rows(r), cols(c), stride(c + 3), values(static_cast<size_t>(r * (c + 3) + 1), T{77}) {}
  MatView<T> view() { return {values.data(), rows, cols, stride}; }
  bool gaps_untouched() const {
    for (int64_t i = 0; i < std::ssize(values); ++i) {
      const bool gap = i % stride >= cols || i == rows * stride;
      if (gap && values[static_cast<size_t>(i)] != T{77}) return false;
    }
    return true;
  }
};

/// Values around the codes of their scale, a third of them halves between codes as exactly as the
/// scale lets them be, a seventh from what needs care.
void fill(MatView<float> x, MatView<const float> scales, uint64_t seed) {
  const std::vector<float> special = {kNan,    kInf,      -kInf,      0.0f,     -0.0f,    1e-45f,
                                      -1e-45f, kSmallest, -kSmallest, kLargest, -kLargest};
  Random random(seed);
  for (int64_t r = 0; r < x.rows; ++r) {
    for (int64_t c = 0; c < x.cols; ++c) {
      const float scale = reference::scale_at(scales, r, c);
      const auto half = static_cast<float>(random.below(270)) - 134.5f;
      float value = static_cast<float>(60 * random.normal());
      if (random.below(3) == 0) value = half;
      x.row(r)[c] = random.below(7) == 0 ? special[random.below(special.size())] : value * scale;
    }
  }
}

/// From the smallest normal float to 2^60, a third of them powers of two.
void fill_scales(MatView<float> scales, uint64_t seed) {
  Random random(seed);
  for (int64_t r = 0; r < scales.rows; ++r) {
    for (int64_t c = 0; c < scales.cols; ++c) {
      const float power = std::ldexp(1.0f, static_cast<int>(random.below(187)) - 126);
      const auto factor = static_cast<float>(1 + random.uniform());
      scales.row(r)[c] = random.below(3) == 0 ? power : power * factor;
    }
  }
}

/// Calls check(x, scales) for every size, stride and shape of scales.
template <class Check>
void for_each_shape(const Check& check) {
  for (const int64_t cols : kSizes) {
    for (const int64_t rows : {0, 1, 3, 11}) {
      for (const int64_t scale_rows : {int64_t{1}, rows}) {
        for (const int64_t scale_cols : {int64_t{1}, cols}) {
          SCOPED_TRACE(testing::Message() << rows << " x " << cols << ", scales " << scale_rows
                                          << " x " << scale_cols);
          Strided<float> scales(scale_rows, scale_cols), x(rows, cols);
          fill_scales(scales.view(), static_cast<uint64_t>(cols));
          if (rows * cols > 0)
            fill(x.view(), scales.view(), static_cast<uint64_t>(cols * 4 + rows));
          check(x, scales);
        }
      }
    }
  }
}

/// Every element of `found` has the bits of expected(r, c), and nothing else was written.
template <class T, class Expected>
void expect_bits(Strided<T>& found, const Expected& expected) {
  for (int64_t r = 0; r < found.rows; ++r) {
    for (int64_t c = 0; c < found.cols; ++c) {
      const T e = expected(r, c), f = found.view().row(r)[c];
      ASSERT_EQ(std::memcmp(&e, &f, sizeof(T)), 0) << r << ", " << c << ": " << +f << " not " << +e;
    }
  }
  ASSERT_TRUE(found.gaps_untouched());
}

TEST_P(Round, codes_equal_the_twin_for_every_shape_of_scales) {
  for_each_shape([](Strided<float>& x, Strided<float>& scales) {
    Strided<int8_t> codes(x.rows, x.cols);
    to_codes(x.view(), scales.view(), codes.view());
    expect_bits(codes, [&](int64_t r, int64_t c) {
      return reference::code(x.view().row(r)[c], reference::scale_at(scales.view(), r, c));
    });
  });
}

TEST_P(Round, float_codes_and_grid_values_equal_the_twin_and_hold_no_minus_zero) {
  for_each_shape([](Strided<float>& x, Strided<float>& scales) {
    const auto code = [&, copy = x](int64_t r, int64_t c) mutable {
      const float scale = reference::scale_at(scales.view(), r, c);
      return static_cast<float>(reference::code(copy.view().row(r)[c], scale));
    };
    auto expected = code;
    Strided<float> codes(x.rows, x.cols);
    to_float_codes(x.view(), scales.view(), codes.view());
    expect_bits(codes, [&](int64_t r, int64_t c) { return expected(r, c); });
    round_to_grid(x.view(), scales.view());  // in place
    expect_bits(x, [&](int64_t r, int64_t c) {
      return reference::scale_at(scales.view(), r, c) * expected(r, c);
    });
  });
}

TEST_P(Round, values_of_codes_are_code_times_scale) {
  for_each_shape([](Strided<float>& x, Strided<float>& scales) {
    Strided<int8_t> codes(x.rows, x.cols);
    for (int64_t r = 0; r < x.rows; ++r) {
      for (int64_t c = 0; c < x.cols; ++c) {
        codes.view().row(r)[c] = static_cast<int8_t>((r * 101 + c * 37) % 256 - 128);
      }
    }
    from_codes(codes.view(), scales.view(), x.view());
    expect_bits(x, [&](int64_t r, int64_t c) {
      return reference::scale_at(scales.view(), r, c) * static_cast<float>(codes.view().row(r)[c]);
    });
  });
}

TEST_P(Round, halves_go_to_even_then_codes_saturate_and_nan_is_zero) {
  const std::vector<float> x = {0.5f,   1.5f,   2.5f,        -0.5f,       -1.5f,   -2.5f, 126.5f,
                                127.5f, 128.0f, -127.5f,     -128.5f,     -129.0f, kInf,  -kInf,
                                kNan,   -0.0f,  0.49999997f, 0.50000006f, 1e30f,   -1e30f};
  const std::vector<int8_t> expected = {0,    2,    2,   0,    -2, -2, 126, 127, 127, -128,
                                        -128, -128, 127, -128, 0,  0,  0,   1,   127, -128};
  for (const float scale : {1.0f, 0x1p-40f, 0x1p80f}) {
    std::vector<float> scaled = x;
    for (float& v : scaled) v *= scale;
    std::vector<int8_t> codes(x.size());
    to_codes({scaled.data(), 1, std::ssize(x)}, {&scale, 1, 1}, {codes.data(), 1, std::ssize(x)});
    EXPECT_EQ(codes, expected) << scale;
  }
}

// A product with the reciprocal would differ: 1/scale rounds, and about 1 half in 4 then misses.
TEST_P(Round, the_quotient_is_one_division) {
  std::vector<float> x, scales;
  for (int i = 1; i <= 40000; ++i) {
    const float scale = static_cast<float>(i) * 0.001f;
    scales.push_back(scale);
    x.push_back(scale * (static_cast<float>(i % 255) - 127.5f));
  }
  const auto n = std::ssize(x);
  std::vector<int8_t> codes(x.size());
  to_codes({x.data(), 1, n}, {scales.data(), 1, n}, {codes.data(), 1, n});
  for (size_t i = 0; i < x.size(); ++i) {
    ASSERT_EQ(codes[i], reference::code(x[i], scales[i])) << x[i] << " / " << scales[i];
  }
}

TEST_P(Round, scales_whose_reciprocal_is_no_normal_float_divide_too) {
  std::vector<float> x, scales;
  Random random(3);
  for (int i = 0; i < 4000; ++i) {
    const auto factor = static_cast<float>(1 + random.uniform());
    scales.push_back(factor * 0x1p126f);
    x.push_back(static_cast<float>(random.below(2) == 0 ? 0.5 : 1.5) * scales.back() * 0.999999f);
    if (i % 2 == 0) x.back() = -std::nextafter(0.5f * scales.back(), 0.0f);
  }
  const auto n = std::ssize(x);
  std::vector<int8_t> codes(x.size());
  to_codes({x.data(), 1, n}, {scales.data(), 1, n}, {codes.data(), 1, n});
  for (size_t i = 0; i < x.size(); ++i) {
    ASSERT_EQ(codes[i], reference::code(x[i], scales[i])) << x[i] << " / " << scales[i];
  }
}

TEST_P(Round, stochastic_codes_equal_the_twin_for_every_shape_of_scales) {
  const uint64_t key = 0x123456789abcdef0u;
  for_each_shape([&](Strided<float>& x, Strided<float>& scales) {
    Strided<int8_t> codes(x.rows, x.cols);
    to_codes_stochastic(x.view(), scales.view(), key, codes.view());
    expect_bits(codes, [&](int64_t r, int64_t c) {
      const uint32_t u = reference::uniform_bits(key, static_cast<uint32_t>(r * x.cols + c));
      const float scale = reference::scale_at(scales.view(), r, c);
      return reference::stochastic_code(x.view().row(r)[c], scale, u);
    });
  });
}

TEST_P(Round, stochastic_codes_may_be_cut_into_rows) {
  const float scale = 0.5f;
  const std::vector<float> x = normal_values(10 * 7, 1, 9.0);
  std::vector<int8_t> whole(70), parts(70);
  to_codes_stochastic({x.data(), 10, 7}, {&scale, 1, 1}, 5, {whole.data(), 10, 7});
  for (const int64_t first : {0, 3, 9}) {
    const int64_t rows = first == 0 ? 3 : (first == 3 ? 6 : 1);
    to_codes_stochastic({x.data() + first * 7, rows, 7}, {&scale, 1, 1}, 5,
                        {parts.data() + first * 7, rows, 7}, first);
  }
  EXPECT_EQ(whole, parts);
}

constexpr int64_t kMany = int64_t{1} << 18;

std::vector<int8_t> many_codes(float quotient, uint64_t key) {
  const float scale = 0.0625f;
  const std::vector<float> x(kMany, quotient * scale);
  std::vector<int8_t> codes(kMany);
  to_codes_stochastic({x.data(), 512, kMany / 512}, {&scale, 1, 1}, key,
                      {codes.data(), 512, kMany / 512});
  return codes;
}

// A code is ⌊q⌋ or ⌊q⌋ + 1, the upper one with probability p = q − ⌊q⌋; the mean of n of them has
// the standard error √(p(1 − p)/n).
TEST_P(Round, stochastic_codes_are_right_on_average) {
  for (const float q : {0.3f, -0.3f, 0.001f, -0.999f, 0.5f, 100.3f, -127.7f, 126.9f}) {
    double sum = 0;
    for (const int8_t code : many_codes(q, 7)) {
      ASSERT_TRUE(code == std::floor(q) || code == std::floor(q) + 1) << +code << " of " << q;
      sum += code;
    }
    const double p = static_cast<double>(q) - std::floor(static_cast<double>(q));
    const double error = std::sqrt(p * (1 - p) / static_cast<double>(kMany));
    EXPECT_NEAR(sum / static_cast<double>(kMany), static_cast<double>(q), 5 * error) << q;
  }
}

TEST_P(Round, stochastic_codes_leave_codes_alone_and_saturate) {
  for (const float q : {-1e30f, -128.5f, -128.0f, -1.0f, 0.0f, -0.0f, 1.0f, 127.0f, 127.9f, kInf}) {
    const auto expected = static_cast<int8_t>(std::fmin(std::fmax(q, -128.0f), 127.0f));
    EXPECT_EQ(many_codes(q, 9), std::vector<int8_t>(kMany, expected)) << q;
  }
  EXPECT_EQ(many_codes(kNan, 9), std::vector<int8_t>(kMany, 0));
}

/// The correlation of a[i] with b[i + lag]; 0 ± 1/√n when they are independent.
double correlation(const std::vector<int8_t>& a, const std::vector<int8_t>& b, size_t lag) {
  int64_t sum = 0;
  for (size_t i = 0; i + lag < b.size(); ++i) sum += (2 * a[i] - 1) * (2 * b[i + lag] - 1);
  return static_cast<double>(sum) / static_cast<double>(b.size() - lag);
}

// About 600 correlations below: the largest of so many normal deviates is near 3.2 standard errors,
// and beyond 5 with probability 3e-4. Half a step makes each code a fair coin.
TEST_P(Round, neighbouring_elements_and_neighbouring_keys_are_independent) {
  const double most = 5 / std::sqrt(static_cast<double>(kMany) - 1024);
  std::vector<std::vector<int8_t>> coins;
  for (const uint64_t key : {0u, 1u, 2u, 3u, 4u, 0x80000000u}) {
    coins.push_back(many_codes(0.5f, key));
  }
  coins.push_back(many_codes(0.5f, uint64_t{1} << 32));
  for (size_t a = 0; a < coins.size(); ++a) {
    for (size_t b = 0; b < coins.size(); ++b) {
      for (const size_t lag : {0u, 1u, 2u, 3u, 4u, 8u, 15u, 16u, 64u, 256u, 512u, 1024u}) {
        if (a == b && lag == 0) continue;
        EXPECT_NEAR(correlation(coins[a], coins[b], lag), 0, most) << a << " " << b << " " << lag;
      }
    }
  }
}

// Chi-square of 256 equal classes: 255 degrees of freedom, standard deviation √510 = 22.6.
TEST(RoundTwin, uniform_bits_are_uniform_in_their_high_and_low_bytes) {
  for (const int shift : {0, 8, 16}) {
    std::vector<double> count(256);
    for (uint32_t i = 0; i < kMany; ++i) ++count[(reference::uniform_bits(3, i) >> shift) & 255];
    const double expected = static_cast<double>(kMany) / 256;
    double chi = 0;
    for (const double c : count) chi += (c - expected) * (c - expected) / expected;
    EXPECT_NEAR(chi, 255, 5 * 22.6) << shift;
  }
}

// Two keys whose lower halves, hashed, differ by d < 2^18 alone: were the upper halves not used,
// the elements i and i xor d of the two would be the same.
TEST(RoundTwin, keys_of_nearly_equal_lower_halves_are_independent) {
  const auto low = [](uint64_t key) { return static_cast<uint32_t>(Random(key).next()); };
  uint64_t a = 0, b = 0;
  for (uint64_t i = 1; i < 2000 && b == 0; ++i) {
    for (uint64_t j = 0; j < i; ++j) {
      if ((low(i) ^ low(j)) < kMany) a = i, b = j;
    }
  }
  const uint32_t d = low(a) ^ low(b);
  ASSERT_TRUE(a != b && d < kMany);
  int64_t same = 0;
  for (uint32_t i = 0; i < kMany; ++i) {
    const uint32_t differing = reference::uniform_bits(a, i) ^ reference::uniform_bits(b, i ^ d);
    same += differing < 0x800000 ? 1 : -1;  // the top bit of 24
  }
  EXPECT_NEAR(static_cast<double>(same), 0, 5 * std::sqrt(static_cast<double>(kMany)));
}

}  // namespace
}  // namespace scute::round_test
