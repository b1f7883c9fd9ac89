#include "scute/kernels/roofline.h"

#include <cmath>
#include <limits>
#include <numeric>

#include "scute/kernels/test_targets.h"

namespace scute::roofline_test {
namespace {

class Roofline : public EachTarget {};

TEST_P(Roofline, LoopsDoTheWorkThatTheyCount) {
  for (const ProductType type : kProductTypes) {
    const PeakLoop loop = peak_loop(type);
    EXPECT_GT(loop.multiply_adds_a_step, 0) << name_of(type);
    EXPECT_NE(loop.instruction, "") << name_of(type);
    for (const int64_t steps : {0, 1, 7, 1000, 1 << 22}) {
      EXPECT_EQ(run_peak_loop(type, steps), static_cast<double>(steps * loop.multiply_adds_a_step))
          << name_of(type) << ", " << loop.instruction;
    }
  }
}

TEST_P(Roofline, EveryWordIsRead) {
  for (const int64_t n : kSizes) {
    std::vector<uint64_t> words(static_cast<size_t>(n) + 1);
    Random random(static_cast<uint64_t>(n));
    for (uint64_t& word : words) word = random.below(std::numeric_limits<uint64_t>::max());
    // From the second on: nothing is aligned to a vector.
    EXPECT_EQ(sum_words(words.data() + 1, n),
              std::accumulate(words.begin() + 1, words.end(), uint64_t{0}))
        << n;
  }
}

TEST_P(Roofline, PowersAreThoseOfTheScan) {
  for (const int64_t n : kSizes) {
    std::vector<float> x = normal_values(n, 3, 20), y(x.size() + 1, -1.0F);
    for (float& value : x) value = -std::abs(value);
    exp2_values(x.data(), n, y.data());
    for (size_t i = 0; i < x.size(); ++i) {
      const double exact = std::exp2(double{x[i]});
      // 2 ulp of a float: 2^-22 of the value (math-inl.h).
      EXPECT_NEAR(double{y[i]}, exact, exact * 0x1p-22) << x[i];
    }
    EXPECT_EQ(y.back(), -1.0F);
  }
}

SCUTE_EACH_TARGET(Roofline);

}  // namespace
}  // namespace scute::roofline_test
