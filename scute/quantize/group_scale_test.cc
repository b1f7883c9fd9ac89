#include "scute/quantize/group_scale.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "scute/base/random.h"

namespace scute::group_scale_test {
namespace {

double error_of(const std::vector<float>& weights, float scale) {
  double sum = 0;
  for (const float w : weights) {
    const double d = w - weight_grid(4, scale).round(w);
    sum += d * d;
  }
  return sum;
}

TEST(GroupScale, FourBitsTakeTheBestOfAllCandidatesAtAnySize) {
  for (size_t size = 1; size <= 40; ++size) {
    Random random(size);
    std::vector<float> weights(size);
    for (float& w : weights) w = static_cast<float>(random.normal());
    float most = 0;
    for (const float w : weights) most = std::max(most, std::abs(w));
    double least = error_of(weights, to_float(to_f16(most * 2 / 15)));
    for (int percent = 60; percent <= 100; percent += 2) {
      // In double and rounded once, as documented.
      const auto wanted = static_cast<float>(static_cast<double>(most) / 7 * percent / 100);
      // A negative scale gives the code −8 to the largest positive weight.
      least = std::min(least, error_of(weights, to_float(to_f16(wanted))));
      least = std::min(least, error_of(weights, to_float(to_f16(-wanted))));
    }
    const float scale = group_scale(weights, 4);
    EXPECT_EQ(to_float(to_f16(scale)), scale);
    // The same terms, at most 40, summed in another order: 40 · 2^−53.
    EXPECT_NEAR(error_of(weights, scale), least, 1e-14 * least) << size;
  }
}

TEST(GroupScale, EightBitsTakeTheLargestOver127) {
  EXPECT_EQ(group_scale(std::vector<float>{1, -254, 3}, 8), 2);
  EXPECT_EQ(group_scale(std::vector<float>{3e-39f}, 8), std::numeric_limits<float>::min());
}

TEST(GroupScale, EmptyWeightsHaveTheShapesOfTheirFormat) {
  EXPECT_EQ(empty_weight(3, 256, WeightFormat::four_bit(256, 64, true)).scales.shape(),
            (Shape{3, 4}));
  EXPECT_EQ(empty_weight(3, 64, WeightFormat::four_bit(64, 64, true)).scales.shape(),
            (Shape{3, 1}));
  const WeightFormat one{.bits = 8, .granularity = WeightFormat::Granularity::per_tensor};
  const QuantizedWeight weight = empty_weight(3, 64, one);
  EXPECT_EQ(weight.scales.shape(), (Shape{1, 1}));
  EXPECT_EQ(weight.codes.shape(), (Shape{3, 64}));
  EXPECT_EQ(weight.codes.dtype(), DType::i8);
}

}  // namespace
}  // namespace scute::group_scale_test
