#include "scute/kernels/fixed_point.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "scute/kernels/reference_fixed_point.h"
#include "scute/kernels/test_targets.h"

namespace scute::fixed_point_test {
namespace {

class FixedPoint : public EachTarget {};
SCUTE_EACH_TARGET(FixedPoint);

/// Around every lane count there is (1 to 32), and far beyond.
const std::vector<int64_t> kWidths = {0, 1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 300};
// Powers of two, whose halves are met exactly, and others; from one that leaves nothing to one that
// saturates everything.
const std::vector<double> kFactors = {0x1p-1, 0x1p-7, 0x1p-15, 1.0, 0x1p3,   0.3,
                                      1.7e-5, 2.9,    1e-300,  1e9, 0x1p-300};

/// Rows with a gap behind each, which holds 77.
template <class T>
struct Strided {
  int64_t rows, cols, stride;
  std::vector<T> values;
  Strided(int64_t r, int64_t c)
      : rows(r), cols(c), stride(c + 3), values(static_cast<size_t>(r * (c + 3)), T{77}) {}
  MatView<T> view() { return {values.data(), rows, cols, stride}; }
};
using Codes = Strided<int16_t>;

/// Codes of `bits` bits; one in five is at an end.
int16_t draw(Random& random, int bits = 16) {
  const int64_t ends = int64_t{1} << (bits - 1);
  const auto any = static_cast<int64_t>(random.below(static_cast<uint64_t>(2 * ends))) - ends;
  const uint64_t kind = random.below(10);
  return static_cast<int16_t>(kind == 0 ? -ends : kind == 1 ? ends - 1 : any);
}

Codes codes(int64_t rows, int64_t cols, uint64_t seed, int bits = 16) {
  Codes all(rows, cols);
  Random random(seed);
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t c = 0; c < cols; ++c) all.view().row(r)[c] = draw(random, bits);
  }
  return all;
}

/// Calls kernel(y) and reference(y) and wants the same values and the same gaps.
template <class Kernel, class Reference>
void expect_same(int64_t rows, int64_t cols, const Kernel& kernel, const Reference& reference) {
  Codes found(rows, cols), expected(rows, cols);
  kernel(found.view());
  reference(expected.view());
  EXPECT_EQ(found.values, expected.values) << rows << " × " << cols;
}

TEST_P(FixedPoint, quantize_equals_the_reference) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  const float ends[] = {kInfinity,
                        -kInfinity,
                        std::numeric_limits<float>::quiet_NaN(),
                        std::numeric_limits<float>::max(),
                        std::numeric_limits<float>::denorm_min(),
                        -0.0f,
                        0.5f,
                        1.5f,
                        -2.5f,
                        32767.5f,
                        -32768.5f};
  Random random(3);
  for (const int64_t cols : kWidths) {
    Strided<float> x(3, cols);
    for (float& v : x.values) {
      v = static_cast<float>(random.normal()) * 20;
      if (random.below(3) == 0) v = ends[random.below(std::size(ends))];
    }
    for (const double scale : {1.0, 0x1p-8, 0.0131, 1e-300, 1e300}) {
      for (const int bits : {2, 8, 16}) {
        expect_same(
            3, cols, [&](auto y) { fixed_quantize(x.view(), scale, bits, y); },
            [&](auto y) { reference::fixed_quantize(x.view(), scale, bits, y); });
      }
    }
  }
}

TEST_P(FixedPoint, quantize_rounds_quotients_at_a_half_as_the_division_does) {
  // x = (n + ½)·scale is exact in float for n < 2^15 and scales of up to 8 bits, so that x / scale
  // is a half; times the reciprocal, which is rounded, every third is a bit less or more with these
  // scales. Next to it: the floats before and after.
  for (const double scale : {105.0, 117.0 / 256, 123.0 / 4096, 227.0 / 1048576}) {
    Strided<float> x(3, 999);
    for (int64_t i = 0; i < 999; ++i) {
      const auto half = static_cast<float>((static_cast<double>((i - 500) * 65) + 0.5) * scale);
      x.view().row(0)[i] = half;
      x.view().row(1)[i] = std::nextafter(half, 0.0f);
      x.view().row(2)[i] = std::nextafter(half, 1e9f);
    }
    expect_same(
        3, 999, [&](auto y) { fixed_quantize(x.view(), scale, 16, y); },
        [&](auto y) { reference::fixed_quantize(x.view(), scale, 16, y); });
  }
}

TEST_P(FixedPoint, requantize_equals_the_reference) {
  const double factors[] = {0x1p-20, 1.3e-7, 0x1p-1, 1.0, 1e300, 1e-300, 0.77, 0x1p-40};
  const double biases[] = {0, 1, -1, 40000, -70000, 0x1p40, -0x1p52};
  Random random(4);
  for (const int64_t cols : kWidths) {
    Strided<int64_t> wide(5, cols);
    Strided<int32_t> narrow(5, cols);
    for (size_t i = 0; i < wide.values.size(); ++i) {
      const auto drawn = static_cast<int64_t>(random.next());
      narrow.values[i] = static_cast<int32_t>(drawn >> (32 + random.below(31)));
      wide.values[i] = (drawn >> (12 + random.below(50))) + (drawn < 0 ? 1 : 0);  // |v| < 2^52
    }
    Strided<int64_t> widened(5, cols);
    widened.values.assign(narrow.values.begin(), narrow.values.end());
    std::vector<double> factor, bias;
    for (int64_t c = 0; c < cols; ++c) {
      factor.push_back(factors[random.below(std::size(factors))]);
      bias.push_back(biases[random.below(std::size(biases))]);
    }
    const double* f = factor.data();
    const double* b = bias.data();
    for (const int bits : {8, 16}) {
      expect_same(
          5, cols, [&](auto y) { fixed_requantize(wide.view(), f, b, bits, y); },
          [&](auto y) { reference::fixed_requantize(wide.view(), f, b, bits, y); });
      expect_same(
          5, cols, [&](auto y) { fixed_requantize(narrow.view(), f, b, bits, y); },
          [&](auto y) { reference::fixed_requantize(widened.view(), f, b, bits, y); });
    }
  }
}

TEST_P(FixedPoint, a_factor_that_is_a_power_of_two_is_a_shift) {
  // Every residue of the shift, its half among them, about 0 and about the ends of the codes.
  constexpr int kShift = 6;
  std::vector<int64_t> sums;
  for (const int64_t about : {int64_t{0}, int64_t{32767} << kShift, -(int64_t{32768} << kShift)}) {
    for (int64_t i = -200; i <= 200; ++i) sums.push_back(about + i);
  }
  const auto cols = std::ssize(sums);
  const std::vector<double> factor(sums.size(), 0x1p-6);
  const std::vector<double> bias(sums.size(), 3);
  std::vector<int16_t> y(sums.size());
  fixed_requantize(MatView<const int64_t>(sums.data(), 1, cols), factor.data(), bias.data(), 16,
                   {y.data(), 1, cols});
  for (size_t i = 0; i < sums.size(); ++i) {
    const int64_t sum = sums[i] + 3, odd = (sum >> kShift) & 1;
    const int64_t shifted = (sum + (1 << (kShift - 1)) - 1 + odd) >> kShift;
    EXPECT_EQ(y[i], reference::saturate(shifted, 16)) << sums[i];
  }
}

TEST_P(FixedPoint, elementwise_steps_equal_the_reference) {
  for (const int64_t cols : kWidths) {
    auto x = codes(3, cols, 1), z = codes(3, cols, 2);
    for (const double factor : kFactors) {
      for (const int bits : {8, 16}) {
        expect_same(
            3, cols, [&](auto y) { fixed_rescale(x.view(), factor, bits, y); },
            [&](auto y) { reference::fixed_rescale(x.view(), factor, bits, y); });
        expect_same(
            3, cols, [&](auto y) { fixed_gate(x.view(), z.view(), factor, bits, y); },
            [&](auto y) { reference::fixed_gate(x.view(), z.view(), factor, bits, y); });
      }
    }
    auto found = x, expected = x;
    fixed_add(found.view(), z.view());
    reference::fixed_add(expected.view(), z.view());
    EXPECT_EQ(found.values, expected.values);
    Strided<int8_t> bytes(3, cols), expected_bytes(3, cols);
    fixed_narrow(x.view(), bytes.view());
    reference::fixed_narrow(x.view(), expected_bytes.view());
    EXPECT_EQ(bytes.values, expected_bytes.values);
  }
}

TEST_P(FixedPoint, norm_equals_the_reference_in_whole_numbers) {
  Random random(5);
  for (int64_t cols : {0, 1, 2, 3, 7, 8, 9, 15, 16, 17, 128, 300, 4096}) {
    for (const int64_t epsilon : {int64_t{0}, int64_t{1}, int64_t{12345}, int64_t{1} << 40}) {
      std::vector<int64_t> gain;
      for (int64_t c = 0; c < cols; ++c) {
        const int64_t most = int64_t{1} << (20 + random.below(17));
        const auto any = static_cast<int64_t>(random.below(static_cast<uint64_t>(2 * most))) - most;
        gain.push_back(c % 5 == 0 ? -most : any);
      }
      auto x = codes(6, cols, 6);
      for (int64_t c = 0; c < cols; ++c) {  // rows of zeros, of extremes and of small codes
        x.view().row(0)[c] = 0;
        x.view().row(1)[c] = -32768;
        x.view().row(2)[c] = static_cast<int16_t>(random.below(5));
      }
      const FixedNorm norm{gain.data(), epsilon};
      for (const int bits : {8, 16}) {
        expect_same(
            6, cols, [&](auto y) { fixed_rms_norm(x.view(), norm, bits, y); },
            [&](auto y) { reference::fixed_rms_norm(x.view(), norm, bits, y); });
      }
    }
  }
}

TEST_P(FixedPoint, norm_rounds_what_lies_next_to_a_half_as_the_fraction_would) {
  // One column whose root is 64·x (epsilon 0): x·gain / (64·x) = gain / 64, halves and neighbours.
  // And, with a second column that makes the root large and odd, the numerators next to a half.
  for (const int16_t x : {int16_t{1}, int16_t{3}, int16_t{32767}, int16_t{-32768}}) {
    for (int64_t gain = -300; gain <= 300; ++gain) {
      int16_t y = 0;
      fixed_rms_norm({&x, 1, 1}, FixedNorm{&gain, 0}, 16, {&y, 1, 1});
      EXPECT_EQ(y, reference::rounded_quotient(x < 0 ? -gain : gain, 64)) << x << " " << gain;
    }
  }
  std::vector<int16_t> x(4096, 32767), found(4096), expected(4096);
  x[0] = 1;
  // √(4095 · 32767² · 2^12) = 134,197,248.3…: root r; gains next to (k + ½)·r.
  std::vector<int64_t> gain(4096, 0);
  const auto root = static_cast<int64_t>(std::sqrt(4095.0 * 32767 * 32767 * 4096 + 4096));
  for (int64_t k = 0; k < 500; ++k) {
    for (const int64_t off : {-1, 0, 1}) {
      gain[0] = (2 * k + 1) * root / 2 + off;
      const FixedNorm norm{gain.data(), 0};
      fixed_rms_norm({x.data(), 1, 4096}, norm, 16, {found.data(), 1, 4096});
      reference::fixed_rms_norm({x.data(), 1, 4096}, norm, 16, {expected.data(), 1, 4096});
      ASSERT_EQ(found[0], expected[0]) << k << " " << off;
    }
  }
}

TEST_P(FixedPoint, convolution_equals_the_reference_and_stays_in_its_window) {
  Random random(8);
  for (const int64_t cols : kWidths) {
    for (const auto& [taps, before] :
         {std::pair<int64_t, int64_t>{1, 0}, {4, 3}, {5, 2}, {64, 30}}) {
      for (const int64_t length : {1, 2, 3, 7}) {
        std::vector<int16_t> weight(static_cast<size_t>(taps * cols));
        for (int16_t& w : weight) w = draw(random);
        std::vector<double> factor, bias;
        for (int64_t c = 0; c < cols; ++c) {
          factor.push_back(c % 3 == 0 ? 0x1p-16 : c % 3 == 1 ? 3.3e-6 : 1e-10);
          bias.push_back(static_cast<double>(random.below(2000)) * 0x1p20 - 0x1p30);
        }
        const FixedConv conv{weight.data(), factor.data(), bias.data(), taps, before};
        auto x = codes(3 * length, cols, 9);
        expect_same(
            3 * length, cols, [&](auto y) { fixed_window_conv(conv, x.view(), length, y); },
            [&](auto y) { reference::fixed_window_conv(conv, x.view(), length, y); });
      }
    }
  }
}

TEST_P(FixedPoint, silu_of_every_code_equals_the_reference) {
  Codes x(1, 65536);
  for (int i = 0; i < 65536; ++i)
    x.values[static_cast<size_t>(i)] = static_cast<int16_t>(i - 32768);
  for (int fraction = 0; fraction <= 14; ++fraction) {
    for (const double factor : {0x1p-16, 0x1p-18, 2.3e-5, 1.0}) {
      expect_same(
          1, 65536, [&](auto y) { fixed_silu(x.view(), fraction, factor, y); },
          [&](auto y) { reference::fixed_silu(x.view(), fraction, factor, y); });
    }
  }
  for (const int64_t cols : kWidths) {
    auto some = codes(3, cols, 10);
    expect_same(
        3, cols, [&](auto y) { fixed_silu(some.view(), 12, 0x1p-16, y); },
        [&](auto y) { reference::fixed_silu(some.view(), 12, 0x1p-16, y); });
  }
}

TEST_P(FixedPoint, mean_scan_equals_the_reference_in_whole_numbers) {
  for (const int64_t cols : kWidths) {
    for (const int64_t length : {1, 2, 3, 7}) {
      for (const int fraction : {0, 8, 11, 12, 14}) {
        auto x = codes(3 * length, cols, 11), logit = codes(3 * length, cols, 12);
        expect_same(
            3 * length, cols,
            [&](auto y) { fixed_window_mean_scan(x.view(), logit.view(), fraction, length, y); },
            [&](auto y) {
              reference::fixed_window_mean_scan(x.view(), logit.view(), fraction, length, y);
            });
      }
    }
  }
}

TEST_P(FixedPoint, mean_scan_never_leaves_the_range_of_x) {
  // The largest sums: leaks at both ends, x at the extremes throughout and by turns.
  constexpr int64_t kLength = 200;
  std::vector<int16_t> y(kLength);
  for (const int16_t logit : {int16_t{-32768}, int16_t{0}, int16_t{32767}}) {
    const std::vector<int16_t> logits(kLength, logit);
    for (const int16_t x : {int16_t{-32768}, int16_t{32767}}) {
      const std::vector<int16_t> xs(kLength, x);
      fixed_window_mean_scan({xs.data(), kLength, 1}, {logits.data(), kLength, 1}, 8, kLength,
                             {y.data(), kLength, 1});
      for (size_t i = 1; i < y.size(); ++i) {
        EXPECT_TRUE(x < 0 ? y[i] <= y[i - 1] && y[i] < 0 : y[i] >= y[i - 1] && y[i] > 0) << i;
      }
    }
  }
}

TEST_P(FixedPoint, steps_in_place_give_the_same) {
  constexpr int64_t kCols = 37;
  const auto x = codes(4, kCols, 13), z = codes(4, kCols, 14);
  const std::vector<int64_t> gain(kCols, 54321);
  const FixedNorm norm{gain.data(), 7};
  const auto check = [&](const auto& step, const char* name) {
    auto in = x, place = x;
    Codes out(4, kCols);
    step(in.view(), out.view());
    step(place.view(), place.view());
    EXPECT_EQ(place.values, out.values) << name;
  };
  check([](auto a, auto y) { fixed_rescale(a, 0.3, 16, y); }, "rescale");
  check([&](auto a, auto y) { fixed_rms_norm(a, norm, 16, y); }, "norm");
  check([](auto a, auto y) { fixed_silu(a, 10, 0x1p-16, y); }, "silu");
  auto other = z;
  check([&](auto a, auto y) { fixed_gate(a, other.view(), 0x1p-15, 16, y); }, "gate");
  check([&](auto a, auto y) { fixed_window_mean_scan(a, other.view(), 11, 2, y); }, "scan of x");
  check([&](auto a, auto y) { fixed_window_mean_scan(other.view(), a, 11, 2, y); },
        "scan of logit");
}

TEST(FixedSigmoid, table_is_the_rounded_sigmoid_on_every_machine) {
  const SigmoidTable& table = sigmoid_table();
  EXPECT_EQ(table[2048], 32768);
  EXPECT_EQ(table[0], 22);        // 65536·σ(−8) = 21.977
  EXPECT_EQ(table[4096], 65514);  // 65536·σ(8) = 65514.02
  EXPECT_EQ(table[1024], 1179);   // 65536·σ(−4) = 1178.75
  EXPECT_EQ(table[3071], 64353);  // 65536·σ(1023/256) = 64352.7
  for (size_t i = 0; i < table.size(); ++i) {
    const long double x = (static_cast<long double>(i) - 2048) / 256;
    const long double exact = 65536 / (1 + std::exp(-x));
    EXPECT_EQ(table[i], std::llround(exact)) << i;
    // No exp() that errs by less than 1000 ulp (65536 · 2^-53 · 1000 = 7e-9) may round another way.
    EXPECT_GT(std::abs(exact - std::floor(exact) - 0.5L), 1e-8L) << i;
    EXPECT_EQ(table[i] + table[4096 - i], 65536) << i;
  }
}

TEST(FixedSigmoid, equals_the_reference_and_follows_the_sigmoid) {
  for (int fraction = 0; fraction <= 14; ++fraction) {
    for (int code = -32768; code <= 32767; ++code) {
      const auto found = fixed_sigmoid(static_cast<int16_t>(code), fraction);
      ASSERT_EQ(found, reference::fixed_sigmoid(static_cast<int16_t>(code), fraction));
      const double x = std::ldexp(code, -fraction);
      if (std::abs(x) > 8) continue;
      // Half a step for the table's entry, half for the line's rounding; the line is within
      // 65536 · max|σ''| / (8 · 256²) = 0.012 of the curve.
      ASSERT_NEAR(found, 65536 / (1 + std::exp(-x)), 1.02) << code << " " << fraction;
    }
  }
  EXPECT_EQ(fixed_sigmoid(32767, 0), 65514);
  EXPECT_EQ(fixed_sigmoid(-32768, 11), 22);
}

}  // namespace
}  // namespace scute::fixed_point_test
