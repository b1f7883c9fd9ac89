#include "scute/kernels/rounding_error.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <vector>

#include "scute/kernels/test_targets.h"

namespace scute::rounding_error_test {
namespace {

class RoundingError : public EachTarget {};
SCUTE_EACH_TARGET(RoundingError);

/// The definition in plain loops.
double plain_error(const std::vector<float>& weights, float scale) {
  std::array<double, 8> sums{};
  double sum = 0;
  const size_t whole = weights.size() / 8 * 8;
  const auto square = [&](float w) {
    const float code = std::clamp(std::nearbyint(w / scale), -8.0f, 7.0f);
    const double difference = w - code * scale;
    return difference * difference;
  };
  for (size_t i = 0; i < whole; ++i) sums[i % 8] += square(weights[i]);
  for (const double s : sums) sum += s;
  for (size_t i = whole; i < weights.size(); ++i) sum += square(weights[i]);
  return sum;
}

TEST_P(RoundingError, is_the_bits_of_plain_loops) {
  for (const int64_t n : kSizes) {
    const std::vector<float> weights = normal_values(n, 7);
    for (const float scale : {0.25f, -0.3f, 0x1p-14f, 100.0f}) {
      ASSERT_EQ(squared_rounding_error(weights, scale), plain_error(weights, scale))
          << n << ", " << scale;
    }
  }
}

TEST_P(RoundingError, rounds_halves_to_even_and_saturates) {
  const std::vector<float> weights{0.5f, 1.5f, -2.5f, 9.0f, -9.0f};
  EXPECT_EQ(squared_rounding_error(weights, 1), 0.25 + 0.25 + 0.25 + 4 + 1);
  EXPECT_EQ(squared_rounding_error(weights, -1), 0.25 + 0.25 + 0.25 + 1 + 4);
}

}  // namespace
}  // namespace scute::rounding_error_test
