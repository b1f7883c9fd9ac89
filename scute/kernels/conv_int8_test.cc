#include "scute/kernels/conv_int8.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>
#include <vector>

#include "scute/kernels/elementwise.h"
#include "scute/kernels/reference_round.h"
#include "scute/kernels/test_targets.h"

namespace scute::conv_int8_test {
namespace {

constexpr double kUlp = 0x1p-23;  // the spacing of floats, relative to them, at its widest

class ConvInt8 : public EachTarget {};
SCUTE_EACH_TARGET(ConvInt8);

std::vector<int8_t> codes(int64_t n, uint64_t seed) {
  Random random(seed);
  std::vector<int8_t> values(static_cast<size_t>(n));
  for (int8_t& v : values) v = static_cast<int8_t>(static_cast<int>(random.below(256)) - 128);
  return values;
}

/// A convolution of `length` rows in strided views.
struct Case {
  int64_t channels, taps, length, x_stride, y_stride;
  std::vector<int8_t> x, weight;
  std::vector<float> scale, bias, y;
  Case(int64_t c, int64_t k, int64_t l)
      : channels(c),
        taps(k),
        length(l),
        x_stride(c + 3),
        y_stride(c + 2),
        x(codes((k - 1 + l) * (c + 3), 1)),
        weight(codes(c * k, 2)),
        scale(normal_values(c, 3, 1e-4)),
        bias(normal_values(c, 4)),
        y(static_cast<size_t>(l * (c + 2) + 1), 77.0f) {}
  MatView<const int8_t> x_view() const { return {x.data(), taps - 1 + length, channels, x_stride}; }
  MatView<float> y_view() { return {y.data(), length, channels, y_stride}; }
  void run() {
    causal_conv_silu_int8(x_view(), weight.data(), scale.data(), bias.data(), taps, y_view());
  }
  float at(int64_t t, int64_t c) const { return y[static_cast<size_t>(t * y_stride + c)]; }
  double product(int64_t t, int64_t c) const {  // scale · sum
    const auto sum = reference::convolution_sum(x_view(), weight.data(), taps, t, c);
    return static_cast<double>(scale[static_cast<size_t>(c)]) * static_cast<double>(sum);
  }
};

// The sum is exact. The product (where there is no fused multiply-add) and the sum with the bias
// round by half an ulp each; silu's slope is below 1.1. Then silu itself, 4 ulp.
double tolerance(double product, double bias, double expected) {
  const double rounding = 1.1 * (std::abs(product) + std::abs(product + bias)) * kUlp / 2;
  return rounding + 4 * kUlp * std::abs(expected) + 1e-37;
}

TEST_P(ConvInt8, equals_the_reference) {
  for (const int64_t channels : kSizes) {
    for (const int64_t taps : {1, 2, 4, 64}) {
      for (const int64_t length : {0, 1, 5}) {
        Case conv(channels, taps, length);
        conv.run();
        std::vector<double> expected(static_cast<size_t>(length * channels));
        reference::causal_conv_silu_int8(conv.x_view(), conv.weight.data(), conv.scale.data(),
                                         conv.bias.data(), taps,
                                         {expected.data(), length, channels});
        for (int64_t t = 0; t < length; ++t) {
          for (int64_t c = 0; c < channels; ++c) {
            const double e = expected[static_cast<size_t>(t * channels + c)];
            const auto bias = static_cast<double>(conv.bias[static_cast<size_t>(c)]);
            ASSERT_NEAR(conv.at(t, c), e, tolerance(conv.product(t, c), bias, e))
                << channels << " channels, " << taps << " taps, " << t << ", " << c;
          }
          ASSERT_EQ(conv.at(t, channels), 77.0f);
          ASSERT_EQ(conv.at(t, channels + 1), 77.0f);
        }
        ASSERT_EQ(conv.y.back(), 77.0f);
      }
    }
  }
}

// With scale 1 and the bias 1 − sum, which floats hold exactly, an exact sum leaves silu(1); one
// that were off by 1 would leave silu(0) or silu(2).
TEST_P(ConvInt8, sums_are_exact_up_to_the_largest) {
  const float one = 1.0f;
  float silu_of_one = 0;
  causal_conv_silu({&one, 1, 1}, &one, nullptr, 1, {}, {&silu_of_one, 1, 1});
  for (const int extreme : {0, -128, 127}) {
    Case conv(67, 64, 1);
    if (extreme != 0) {
      std::ranges::fill(conv.x, static_cast<int8_t>(-128));
      std::ranges::fill(conv.weight, static_cast<int8_t>(extreme));
    }
    for (int64_t c = 0; c < 67; ++c) {
      conv.scale[static_cast<size_t>(c)] = 1;
      conv.bias[static_cast<size_t>(c)] = static_cast<float>(
          1 - reference::convolution_sum(conv.x_view(), conv.weight.data(), 64, 0, c));
    }
    conv.run();
    for (int64_t c = 0; c < 67; ++c) ASSERT_EQ(conv.at(0, c), silu_of_one) << extreme << " " << c;
  }
}

TEST_P(ConvInt8, may_be_cut_anywhere) {
  Case whole(37, 4, 23), parts(37, 4, 23);
  whole.run();
  for (int64_t t = 0, step = 1; t < parts.length; t += step, ++step) {
    const int64_t rows = std::min(step, parts.length - t);
    causal_conv_silu_int8(parts.x_view().slice_rows(t, rows + 3), parts.weight.data(),
                          parts.scale.data(), parts.bias.data(), 4,
                          parts.y_view().slice_rows(t, rows));
  }
  EXPECT_EQ(whole.y, parts.y);
}

TEST_P(ConvInt8, may_be_split_over_channels) {
  Case whole(37, 4, 9), parts(37, 4, 9);
  whole.run();
  for (const auto& [first, count] : {std::pair<int64_t, int64_t>{0, 16}, {16, 1}, {17, 20}}) {
    causal_conv_silu_int8(parts.x_view(), parts.weight.data(), parts.scale.data(),
                          parts.bias.data(), 4, first, count, parts.y_view());
  }
  EXPECT_EQ(whole.y, parts.y);
}

TEST_P(ConvInt8, a_channel_does_not_depend_on_its_place) {
  Case all(37, 4, 9);
  all.run();
  for (int64_t c = 0; c < 37; ++c) {
    Case one(1, 4, 9);
    for (int64_t k = 0; k < 4; ++k) {
      one.weight[static_cast<size_t>(k)] = all.weight[static_cast<size_t>(k * 37 + c)];
    }
    one.scale[0] = all.scale[static_cast<size_t>(c)];
    one.bias[0] = all.bias[static_cast<size_t>(c)];
    causal_conv_silu_int8(all.x_view().columns(c, 1), one.weight.data(), one.scale.data(),
                          one.bias.data(), 4, one.y_view());
    for (int64_t t = 0; t < 9; ++t) ASSERT_EQ(one.at(t, 0), all.at(t, c)) << t << " " << c;
  }
}

TEST_P(ConvInt8, without_bias_takes_zeros_and_nan_stays_in_its_channel) {
  Case zeros(19, 4, 9), none(19, 4, 9);
  std::ranges::fill(zeros.bias, 0.0f);
  zeros.run();
  causal_conv_silu_int8(none.x_view(), none.weight.data(), none.scale.data(), nullptr, 4,
                        none.y_view());
  EXPECT_EQ(zeros.y, none.y);
  zeros.bias[3] = std::numeric_limits<float>::quiet_NaN();
  zeros.scale[7] = std::numeric_limits<float>::infinity();
  zeros.run();
  for (int64_t t = 0; t < 9; ++t) {
    for (int64_t c = 0; c < 19; ++c) {
      if (c == 3) {
        EXPECT_TRUE(std::isnan(zeros.at(t, c)));
      } else if (c == 7) {
        EXPECT_FALSE(std::isfinite(zeros.at(t, c)) && zeros.at(t, c) != 0);
      } else {
        EXPECT_EQ(zeros.at(t, c), none.at(t, c)) << t << " " << c;
      }
    }
  }
}

}  // namespace
}  // namespace scute::conv_int8_test
