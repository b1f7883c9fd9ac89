#include "scute/quantize/weight.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "scute/base/error.h"
#include "scute/base/random.h"
#include "scute/quantize/grid.h"
#include "scute/quantize/test_data.h"

namespace scute::weight_test {
namespace {

using Granularity = WeightFormat::Granularity;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::ThrowsMessage;

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

Tensor floats(Shape shape, const std::vector<float>& values) {
  return Tensor::of<float>(std::move(shape), values);
}

WeightFormat eight_bit(Granularity granularity) {
  return {.bits = 8, .granularity = granularity, .group = 128, .two_level = false};
}

double squared_distance(const Tensor& a, const Tensor& b) {
  double sum = 0;
  for (size_t i = 0; i < a.values<float>().size(); ++i) {
    const double d = static_cast<double>(a.values<float>()[i]) - b.values<float>()[i];
    sum += d * d;
  }
  return sum;
}

bool is_half(float x) { return to_float(to_f16(x)) == x; }

TEST(Weight, EightBitScalesAreTheLargestOver127PerOutputOrTensor) {
  const Tensor weight = floats({2, 3}, {1.27f, -0.635f, 0.012f, -254, 3, 2});
  const QuantizedWeight rows = quantize_nearest(weight, eight_bit(Granularity::per_channel), "w");
  EXPECT_EQ(rows.scales.shape(), (Shape{2, 1}));
  EXPECT_THAT(rows.scales.values<float>(), ElementsAre(0.01f, 2));
  // −0.635/0.01 lies below −63.5 in floats; 3/2 is halfway and goes to the even 2.
  EXPECT_THAT(rows.codes.values<int8_t>(), ElementsAre(127, -64, 1, -127, 2, 1));

  const QuantizedWeight whole = quantize_nearest(weight, eight_bit(Granularity::per_tensor), "w");
  EXPECT_EQ(whole.scales.shape(), (Shape{1, 1}));
  EXPECT_THAT(whole.codes.values<int8_t>(), ElementsAre(1, 0, 0, -127, 2, 1));
  EXPECT_THAT(dequantize(whole).values<float>(), ElementsAre(2, 0, 0, -254, 4, 2));
}

TEST(Weight, RoundsHalvesToEven) {
  const Tensor weight = floats({1, 7}, {127, 0.5f, 1.5f, 2.5f, -0.5f, -1.5f, -2.5f});
  const QuantizedWeight q = quantize_nearest(weight, eight_bit(Granularity::per_channel), "w");
  EXPECT_THAT(q.codes.values<int8_t>(), ElementsAre(127, 0, 2, 2, 0, -2, -2));
}

TEST(Weight, FourBitScalesAreHalvesAndNeverWorseThanQuambas) {
  const Tensor weight = random_weight(16, 256, 3);
  const QuantizedWeight q = quantize_nearest(weight, WeightFormat::four_bit(256, 64, false), "w");
  EXPECT_EQ(q.scales.shape(), (Shape{16, 4}));
  const auto w = weight.values<float>();
  for (size_t group = 0; group < 64; ++group) {
    const float scale = q.scales.values<float>()[group];
    EXPECT_TRUE(is_half(scale));
    float most = 0;
    for (size_t i = 0; i < 64; ++i) most = std::max(most, std::abs(w[group * 64 + i]));
    const float quamba = to_float(to_f16(most * 2 / 15)), full = to_float(to_f16(most / 7));
    double error = 0, error_quamba = 0, error_full = 0;
    for (size_t i = 0; i < 64; ++i) {
      const float x = w[group * 64 + i];
      const auto squared = [x](float s) {
        const double d = x - Grid{{.bits = 4, .symmetric = true}, s, 0}.round(x);
        return d * d;
      };
      const double chosen =
          x - scale * static_cast<float>(q.codes.values<int8_t>()[group * 64 + i]);
      error += chosen * chosen;
      error_quamba += squared(quamba);
      error_full += squared(full);
    }
    // The same 64 terms summed in another order: 64 · 2^−53 relative.
    EXPECT_LE(error, error_quamba * (1 + 1e-14));
    EXPECT_LE(error, error_full * (1 + 1e-14));
  }
}

TEST(Weight, FourBitScaleIsTheBestOfTheCandidates) {
  // Codes 7 and −5 times a scale are exact at max/7 alone.
  const Tensor exact = floats({1, 4}, {1.75f, -1.25f, 0.25f, 0});
  const QuantizedWeight q = quantize_nearest(exact, WeightFormat::four_bit(4, 128, false), "w");
  EXPECT_EQ(q.format.granularity, Granularity::per_channel);
  EXPECT_THAT(q.scales.values<float>(), ElementsAre(0.25f));
  EXPECT_THAT(q.codes.values<int8_t>(), ElementsAre(7, -5, 1, 0));
  EXPECT_EQ(squared_distance(dequantize(q), exact), 0);
  // An outlier of 1 among 3000 weights at 5, 6 and 7 times 0.6/7: it is the one to give way. Its
  // loss of 0.16 is less than that of the others at the next likely scale, 0.7/7: 1000 · 0.001.
  std::vector<float> many;
  for (int i = 0; i < 3000; ++i) many.push_back(0.6f / 7 * static_cast<float>(5 + i % 3));
  many[5] = 1;
  const QuantizedWeight clipped =
      quantize_nearest(floats({1, 3000}, many), WeightFormat::four_bit(3000, 3000, false), "w");
  // Negative, so that the outlier gets the code −8 instead of 7. Half an f16 step.
  EXPECT_NEAR(clipped.scales.values<float>()[0], -0.6 / 7, 0.6 / 7 / 2048);
  EXPECT_EQ(clipped.codes.values<int8_t>()[5], -8);
}

TEST(Weight, ZeroGroupsAndScalesBelowHalfPrecisionStayUsable) {
  std::vector<float> values(256, 0);
  values[200] = 1e-7f;  // 1e-7/7 is 0 as f16
  const QuantizedWeight q =
      quantize_nearest(floats({1, 256}, values), WeightFormat::four_bit(256, 128, true), "w");
  EXPECT_THAT(q.scales.values<float>(), ElementsAre(0x1p-14f, 0x1p-14f));
  EXPECT_THAT(q.codes.values<int8_t>(), testing::Each(0));
  EXPECT_GT(q.channel_scales.values<float>()[0], 0);
  EXPECT_THAT(dequantize(q).values<float>(), testing::Each(0));

  const QuantizedWeight zero =
      quantize_nearest(floats({1, 2}, {0, 0}), eight_bit(Granularity::per_channel), "w");
  EXPECT_GE(zero.scales.values<float>()[0], std::numeric_limits<float>::min());
  const QuantizedWeight huge =
      quantize_nearest(floats({1, 2}, {1e30f, -1}), WeightFormat::four_bit(2, 128, false), "w");
  EXPECT_THAT(huge.scales.values<float>(), ElementsAre(65504.0f));
  EXPECT_THAT(huge.codes.values<int8_t>(), ElementsAre(7, 0));
}

TEST(Weight, ErrorIsAtMostHalfAStepUnlessSaturated) {
  const Tensor weight = random_weight(8, 256, 5);
  for (const Granularity granularity :
       {Granularity::per_tensor, Granularity::per_channel, Granularity::per_group}) {
    const QuantizedWeight q = quantize_nearest(weight, eight_bit(granularity), "w");
    const auto back = dequantize(q);
    for (int64_t o = 0; o < 8; ++o) {
      for (int64_t k = 0; k < 256; ++k) {
        const auto i = static_cast<size_t>(o * 256 + k);
        const auto scales = q.scales.matrix<float>();
        const float scale = granularity == Granularity::per_tensor    ? scales.row(0)[0]
                            : granularity == Granularity::per_channel ? scales.row(o)[0]
                                                                      : scales.row(o)[k / 128];
        // Half a step, plus the roundings of w / s and code · s: 2 · 127 · 2^−24 steps.
        EXPECT_NEAR(back.values<float>()[i], weight.values<float>()[i], scale * (0.5f + 2e-5f));
      }
    }
  }
}

TEST(Weight, TwoLevelsMultiplyByTheirEightBitForm) {
  const Tensor weight = random_weight(4, 256, 7);
  const QuantizedWeight q = quantize_nearest(weight, WeightFormat::four_bit(256, 128, true), "w");
  const QuantizedWeight one =
      quantize_nearest(weight, WeightFormat::four_bit(256, 128, false), "w");
  EXPECT_EQ(one.channel_scales.size(), 0);
  const QuantizedWeight integer = as_int8(q);
  EXPECT_EQ(integer.format.bits, 8);
  EXPECT_EQ(integer.scales.shape(), (Shape{4, 1}));
  const Tensor real = dequantize(q), first = dequantize(one);
  EXPECT_EQ(squared_distance(real, dequantize(integer)), 0);
  for (int64_t o = 0; o < 4; ++o) {
    const float scale = q.channel_scales.values<float>()[static_cast<size_t>(o)];
    float most = 0;
    int most_code = 0;
    for (int64_t k = 0; k < 256; ++k) {
      const float w = first.matrix<float>().row(o)[k];
      most = std::max(most, std::abs(w));
      most_code = std::max(most_code, std::abs(int{integer.codes.matrix<int8_t>().row(o)[k]}));
      EXPECT_NEAR(real.matrix<float>().row(o)[k], w, scale * (0.5f + 2e-5f));
    }
    EXPECT_EQ(scale, static_cast<float>(static_cast<double>(most) / 127));
    EXPECT_EQ(most_code, 127);
  }
  EXPECT_GT(squared_distance(real, first), 0);  // the second rounding is not the identity
}

TEST(Weight, OneScalePerTensorIsSpreadToTheOutputs) {
  const QuantizedWeight q =
      quantize_nearest(floats({2, 2}, {127, 1, 2, 3}), eight_bit(Granularity::per_tensor), "w");
  const QuantizedWeight integer = as_int8(q);
  EXPECT_EQ(integer.format.granularity, Granularity::per_channel);
  EXPECT_THAT(integer.scales.values<float>(), ElementsAre(1, 1));
  EXPECT_EQ(squared_distance(dequantize(integer), dequantize(q)), 0);
}

TEST(Weight, FormsWithSeveralScalesPerOutputAreNoInteger) {
  const Tensor weight = random_weight(2, 256, 9);
  for (const WeightFormat& format :
       {WeightFormat::four_bit(256, 128, false), WeightFormat::four_bit(256, 256, false),
        eight_bit(Granularity::per_group)}) {
    const QuantizedWeight q = quantize_nearest(weight, format, "w");
    EXPECT_THROW(as_int8(q), Error);
  }
}

TEST(Weight, FormatsThatDoNotFitAreRefusedWithAdvice) {
  WeightFormat format = WeightFormat::four_bit(1600, 128, false);
  EXPECT_THAT([&] { format.check(1600, "layer_0.in_proj"); },
              ThrowsMessage<Error>(testing::AllOf(HasSubstr("layer_0.in_proj"), HasSubstr("100"))));
  format.group = 100;
  EXPECT_NO_THROW(format.check(1600, "w"));
  EXPECT_EQ(format.group_inputs(1600), 100);
  format.group = 0;
  EXPECT_THROW(format.check(1600, "w"), Error);
  EXPECT_THROW((WeightFormat{.bits = 5}.check(8, "w")), Error);
  EXPECT_THROW((WeightFormat{.bits = 8, .two_level = true}.check(8, "w")), Error);
  EXPECT_THROW((WeightFormat{.bits = 4, .granularity = Granularity::per_tensor}.check(8, "w")),
               Error);
  EXPECT_THROW(WeightFormat{}.check(0, "w"), Error);
}

TEST(Weight, NotFiniteOrMisshapenWeightsAreRefusedByName) {
  for (const float bad : {kNan, kInf, -kInf}) {
    const Tensor weight = floats({2, 2}, {1, 2, 3, bad});
    EXPECT_THAT(
        [&] { quantize_nearest(weight, WeightFormat{}, "layer_3.x_proj"); },
        ThrowsMessage<Error>(testing::AllOf(HasSubstr("layer_3.x_proj"), HasSubstr("(1, 1)"))));
  }
  EXPECT_THROW(quantize_nearest(floats({4}, {1, 2, 3, 4}), WeightFormat{}, "w"), Error);
  EXPECT_THROW(quantize_nearest(Tensor(DType::i8, {2, 2}), WeightFormat{}, "w"), Error);
}

TEST(Weight, ScalesOfAnotherShapeThanTheCodesAreRefused) {
  QuantizedWeight q = quantize_nearest(random_weight(4, 8, 1), WeightFormat{}, "w");
  q.scales = Tensor(DType::f32, {3, 1});
  EXPECT_THROW(dequantize(q), Error);
  q = quantize_nearest(random_weight(4, 8, 1), WeightFormat::four_bit(8, 128, true), "w");
  q.channel_scales = Tensor();
  EXPECT_THROW(dequantize(q), Error);
}

TEST(Weight, PacksEightCodesToAWordLowestFirst) {
  const std::vector<int8_t> codes = {-8, 7, 0, 1, -1, 2, 3, -2, 5};
  const Tensor packed = pack_int4(Tensor::of<int8_t>({1, 9}, codes));
  EXPECT_EQ(packed.shape(), (Shape{1, 2}));
  // Offset by 8: 0 f 8 9 7 a b 6, from the lowest nibble up; then d and seven nibbles of padding.
  EXPECT_THAT(packed.values<int32_t>(), ElementsAre(0x6ba798f0, 0xd));
  EXPECT_THAT(unpack_int4(packed, 1, 9, "w").values<int8_t>(), testing::ElementsAreArray(codes));
}

TEST(Weight, UnpackingRefusesWhatDoesNotFit) {
  EXPECT_THROW(unpack_int4(Tensor(DType::i32, {2, 2}), 2, 17, "w"), Error);
  EXPECT_THROW(unpack_int4(Tensor(DType::i32, {2, 2}), 2, 8, "w"), Error);
  EXPECT_THROW(unpack_int4(Tensor(DType::i32, {2, 2}), 3, 16, "w"), Error);
  EXPECT_THROW(unpack_int4(Tensor(DType::i8, {2, 2}), 2, 16, "w"), Error);
  EXPECT_THROW(unpack_int4(Tensor(DType::i32, {2, 0}), 2, -4, "w"), Error);
  EXPECT_THROW(unpack_int4(Tensor(DType::i32, {1, 1}), 1, INT64_MAX, "w"), Error);
  const std::vector<int32_t> words = {0x10000000};
  const Tensor padded = Tensor::of<int32_t>({1, 1}, words);
  EXPECT_THROW(unpack_int4(padded, 1, 7, "w"), Error);
  EXPECT_EQ(unpack_int4(padded, 1, 8, "w").values<int8_t>()[7], -7);
}

TEST(Weight, PackingRefusesCodesBeyondFourBits) {
  for (const int8_t bad : {int8_t{8}, int8_t{-9}}) {
    EXPECT_THROW(pack_int4(Tensor::of<int8_t>({1, 1}, std::span(&bad, 1))), Error);
  }
}

}  // namespace
}  // namespace scute::weight_test
