// Int8 products by weights kept in 4 bits and two levels of scales.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

#include "scute/base/error.h"
#include "scute/kernels/test_int8.h"

namespace scute::gemm_int8_two_level_test {
namespace {

using testing::HasSubstr;

struct TwoLevelTensors {
  Tensor codes, scales, channel_scales;

  TwoLevelCodes view() const { return {codes, scales, channel_scales}; }
  GemmInt8 gemm() const { return GemmInt8(codes, scales, channel_scales); }
};

/// Scales of both signs; channel scales such that the largest code of a row is near ±127.
TwoLevelTensors draw_two_level(int64_t outputs, int64_t inputs, int64_t group, uint64_t seed) {
  TwoLevelTensors out{Tensor(DType::i8, {outputs, inputs}),
                      Tensor(DType::f32, {outputs, inputs / group}),
                      Tensor(DType::f32, {outputs, 1})};
  Random random(seed);
  for (int8_t& code : out.codes.mutable_values<int8_t>()) {
    code = static_cast<int8_t>(static_cast<int>(random.below(16)) - 8);
  }
  for (float& scale : out.scales.mutable_values<float>()) {
    scale = static_cast<float>((0.2 + random.uniform()) * (random.below(3) == 0 ? -1 : 1));
  }
  for (float& scale : out.channel_scales.mutable_values<float>()) {
    scale = static_cast<float>(9.6 / 127 * (0.999 + 0.002 * random.uniform()));
  }
  return out;
}

/// The 8-bit codes in plain arithmetic.
Codes widened(const TwoLevelTensors& weight) {
  Codes out;
  const int64_t group = weight.codes.dim(1) / weight.scales.dim(1);
  for (int64_t o = 0; o < weight.codes.dim(0); ++o) {
    for (int64_t k = 0; k < weight.codes.dim(1); ++k) {
      const float value = static_cast<float>(weight.codes.matrix<int8_t>().row(o)[k]) *
                          weight.scales.matrix<float>().row(o)[k / group];
      const float q = value / weight.channel_scales.matrix<float>().row(o)[0];
      out.push_back(static_cast<int8_t>(std::nearbyint(std::clamp(q, -128.0f, 127.0f))));
    }
  }
  return out;
}

std::vector<Way> two_level_ways(const TwoLevelTensors& weight) {
  std::vector<Way> all;
  for (const Int8Products products : int8_products()) {
    all.push_back(
        {std::string(int8_kernel(products).name), make_own_gemm_int8(weight.view(), products)});
  }
  return all;
}

void expect_exact(const TwoLevelTensors& weight, int64_t rows) {
  const int64_t inputs = weight.codes.dim(1), outputs = weight.codes.dim(0);
  SCOPED_TRACE(testing::Message() << rows << " × " << inputs << " → " << outputs << ", "
                                  << weight.scales.dim(1) << " groups");
  const Codes x = draw(rows * inputs, 1), w = widened(weight);
  for (const Way& way : two_level_ways(weight)) {
    SCOPED_TRACE(way.name);
    ASSERT_NE(way.impl, nullptr);
    ASSERT_TRUE(way.impl->name().ends_with("int4 × int8"));
    expect_exact(way, view(x, rows), view(w, outputs));
  }
}

class GemmTwoLevelEachTarget : public EachTarget {};
SCUTE_EACH_TARGET(GemmTwoLevelEachTarget);

TEST_P(GemmTwoLevelEachTarget, IsExactForEveryGroup) {
  struct Groups {
    int64_t inputs, group;
  };
  for (const auto& [inputs, group] :
       {Groups{768, 128}, Groups{1152, 128}, Groups{256, 64}, Groups{768, 768}, Groups{48, 48},
        Groups{100, 50}, Groups{63, 63}, Groups{65 * 3, 65 * 3}, Groups{381, 127}, Groups{576, 192},
        Groups{2080, 1040}}) {
    for (const int64_t rows : {1, 2, 7, 13, 61}) {
      expect_exact(draw_two_level(35, inputs, group, 2), rows);
    }
  }
}

TEST_P(GemmTwoLevelEachTarget, IsExactForEveryNumberOfOutputsAndRows) {
  for (const int64_t outputs : {1, 3, 16, 31, 32, 33, 64, 65}) {
    for (const int64_t rows : {1, 5}) expect_exact(draw_two_level(outputs, 256, 128, 3), rows);
  }
  const TwoLevelTensors weight = draw_two_level(33, 128, 64, 4);
  for (int64_t rows = 1; rows <= 130; ++rows) expect_exact(weight, rows);
}

/// Every code in 4 bits, with scales that meet halves and both ends of 8 bits.
TEST_P(GemmTwoLevelEachTarget, RoundsAndSaturatesAsTheGridDoes) {
  int kept = 0, all = 0;
  for (const float channel_scale : {1.0f, 0.3f, 1e-38f, 1e3f}) {
    for (const float ratio : {0.0f, 0.5f, -0.5f, 0.1f, 1.5f, 15.875f, -16.0f, 16.0f, 18.2f, -18.2f,
                              127.5f, 128.0f, 128.5f, -1e9f, 1e30f, 1e-6f}) {
      TwoLevelTensors weight = draw_two_level(1, 64, 64, 5);
      weight.scales.mutable_values<float>()[0] = ratio * channel_scale;
      weight.channel_scales.mutable_values<float>()[0] = channel_scale;
      int8_t* codes = weight.codes.mutable_values<int8_t>().data();
      for (int64_t i = 0; i < 64; ++i) codes[i] = static_cast<int8_t>(i % 16 - 8);
      const Codes x = draw(3 * 64, 1), w = widened(weight);
      SCOPED_TRACE(testing::Message() << channel_scale << " · " << ratio);
      expect_exact(weight.gemm(), view(x, 3), view(w, 1));
      ++all;
      if (make_own_gemm_int8(weight.view(), Int8Products::highway) == nullptr) continue;
      ++kept;
      for (const int64_t rows : {1, 3}) expect_exact(weight, rows);
    }
  }
  // Where 3 · scale is not exact, halves of several codes can go different ways.
  EXPECT_GE(kept, all - 4);
}

// |x| = 128 times the largest weights of both signs: sums of pairs in 16 bits, as the row kernel
// without VNNI has them, reach 32,512 and −32,768.
TEST_P(GemmTwoLevelEachTarget, ExtremesNeverSaturate) {
  for (const float channel_scale : {8.0f / 127, 8.0f / 128, 7.0f / 127}) {
    TwoLevelTensors weight = draw_two_level(33, 1536, 128, 6);
    std::ranges::fill(weight.scales.mutable_values<float>(), 1.0f);
    std::ranges::fill(weight.channel_scales.mutable_values<float>(), channel_scale);
    for (const int8_t code : {int8_t{-8}, int8_t{7}}) {
      std::ranges::fill(weight.codes.mutable_values<int8_t>(), code);
      const Codes w = widened(weight);
      for (const int8_t value : {int8_t{-128}, int8_t{127}}) {
        const Codes x(2 * 1536, value);
        for (const Way& way : two_level_ways(weight)) {
          for (const int64_t rows : {1, 2}) {
            expect_exact(way, view(x, 2).slice_rows(0, rows), view(w, 33));
          }
        }
      }
    }
  }
}

TEST_P(GemmTwoLevelEachTarget, PartsOfTheOutputsAreTheBitsOfTheWhole) {
  constexpr int64_t kOutputs = 155;
  const TwoLevelTensors weight = draw_two_level(kOutputs, 768, 128, 7);
  for (const int64_t rows : {1, 7, 141}) {
    const Codes x = draw(rows * 768, 8);
    for (const Way& way : two_level_ways(weight)) {
      expect_parts_equal_the_whole(way, view(x, rows), kOutputs);
    }
  }
}

TEST(GemmTwoLevel, KeepsHalfAByteACodeOrOneWhereGroupsAreShort) {
  const GemmInt8 usual = draw_two_level(320, 768, 128, 9).gemm();
  EXPECT_TRUE(usual.backend().ends_with("int4 × int8"));
  EXPECT_EQ(usual.bytes(), 320 * 768 / 2 + 4 * 320 * 6);
  EXPECT_LE(static_cast<double>(usual.bytes()), 0.56 * 320 * 768);
  // 32 codes would fill half of a block.
  const TwoLevelTensors weight = draw_two_level(37, 128, 32, 10);
  EXPECT_EQ(make_own_gemm_int8(weight.view(), Int8Products::highway), nullptr);
  const Codes x = draw(5 * 128, 1), w = widened(weight);
  EXPECT_FALSE(weight.gemm().backend().ends_with("int4 × int8"));
  expect_exact(weight.gemm(), view(x, 5), view(w, 37));
}

// Scales as quantization makes them, f16 numbers under the largest product of a row: also where a
// quotient is a half, as that of code 4 beside the largest 8.
TEST(GemmTwoLevel, OneMultiplicationGivesTheCodesOfTheGrid) {
  Random random(13);
  for (int trial = 0; trial < 200; ++trial) {
    TwoLevelTensors weight = draw_two_level(8, 512, 64, random.next());
    for (int64_t o = 0; o < 8; ++o) {
      float most = 0;
      for (int64_t g = 0; g < 8; ++g) {
        float& scale = weight.scales.mutable_matrix<float>().row(o)[g];
        scale = to_float(to_f16(scale * 0.01f));
        most = std::max(most, 8 * std::abs(scale));
      }
      weight.channel_scales.mutable_matrix<float>().row(o)[0] = most / 127;
    }
    ASSERT_NE(make_own_gemm_int8(weight.view(), Int8Products::highway), nullptr) << trial;
    const Codes x = draw(512, 1), w = widened(weight);
    expect_exact(weight.gemm(), view(x, 1), view(w, 8));
  }
}

TEST(GemmTwoLevel, ScalesThatOverflowFloatsSaturateAsTheGridDoes) {
  TwoLevelTensors weight = draw_two_level(3, 64, 64, 11);
  std::ranges::fill(weight.scales.mutable_values<float>(), 3e38f);
  const Codes x = draw(64, 1), w = widened(weight);
  expect_exact(weight.gemm(), view(x, 1), view(w, 3));
}

TEST(GemmTwoLevel, RefusesWhatDoesNotFit) {
  const auto message = [](const TwoLevelTensors& weight) -> std::string {
    try {
      weight.gemm();
    } catch (const Error& error) {
      return error.what();
    }
    return "no error";
  };
  // Copies of a tensor share their memory.
  const auto right = [] { return draw_two_level(3, 128, 64, 12); };
  EXPECT_EQ(message(right()), "no error");
  TwoLevelTensors wrong = right();
  wrong.codes.mutable_values<int8_t>()[5] = 8;
  EXPECT_THAT(message(wrong), HasSubstr("expected -8 … 7, found 8"));
  wrong = right();
  wrong.scales = Tensor(DType::f32, {3, 3});
  EXPECT_THAT(message(wrong), HasSubstr("groups that divide 128, found (3, 3)"));
  wrong = right();
  wrong.scales.mutable_values<float>()[1] = std::numeric_limits<float>::infinity();
  EXPECT_THAT(message(wrong), HasSubstr("finite"));
  wrong = right();
  wrong.channel_scales = Tensor(DType::f32, {3});
  EXPECT_THAT(message(wrong), HasSubstr("channel scales: expected (3, 1), found (3)"));
  wrong = right();
  wrong.channel_scales.mutable_values<float>()[2] = 0;
  EXPECT_THAT(message(wrong), HasSubstr("above 0"));
}

}  // namespace
}  // namespace scute::gemm_int8_two_level_test
