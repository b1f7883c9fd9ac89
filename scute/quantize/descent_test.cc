#include "scute/quantize/descent.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "scute/base/random.h"
#include "scute/quantize/gptq.h"
#include "scute/quantize/group_scale.h"
#include "scute/quantize/test_data.h"

namespace scute::descent_test {
namespace {

constexpr double kDamping = 0.01;

/// Σ x·xᵀ of tokens that share `sources` causes: inputs that are far from independent.
Square correlated(int64_t n, int64_t sources, uint64_t seed) {
  Random random(seed);
  std::vector<double> mix(static_cast<size_t>(n * sources));
  for (double& m : mix) m = random.normal();
  Square out(n);
  std::vector<double> x(static_cast<size_t>(n));
  for (int64_t token = 0; token < 3 * n; ++token) {
    std::fill(x.begin(), x.end(), 0);
    for (int64_t s = 0; s < sources; ++s) {
      const double source = random.normal();
      for (int64_t i = 0; i < n; ++i) {
        x[static_cast<size_t>(i)] += source * mix[static_cast<size_t>(i * sources + s)];
      }
    }
    for (int64_t i = 0; i < n; ++i) x[static_cast<size_t>(i)] += 0.3 * random.normal();
    for (int64_t i = 0; i < n; ++i) {
      for (int64_t j = 0; j < n; ++j) {
        out.at(i, j) += x[static_cast<size_t>(i)] * x[static_cast<size_t>(j)];
      }
    }
  }
  return out;
}

/// Of one output: (w − q)·(H + λI)·(w − q), λ = damping · mean diagonal.
double objective(const float* weight, const float* rounded, const Square& hessian) {
  double mean = 0, sum = 0;
  for (int64_t i = 0; i < hessian.n; ++i) mean += hessian.at(i, i) / static_cast<double>(hessian.n);
  for (int64_t i = 0; i < hessian.n; ++i) {
    const double ei = static_cast<double>(weight[i]) - static_cast<double>(rounded[i]);
    sum += kDamping * mean * ei * ei;
    for (int64_t j = 0; j < hessian.n; ++j) {
      sum += ei * hessian.at(i, j) *
             (static_cast<double>(weight[j]) - static_cast<double>(rounded[j]));
    }
  }
  return sum;
}

double objective(const Tensor& weight, QuantizedWeight rounded, const Square& hessian, int64_t o) {
  // The codes and scales of the first level, as descend() sees them.
  rounded.format.two_level = false;
  const Tensor real = dequantize(rounded);
  return objective(weight.matrix<float>().row(o), real.matrix<float>().row(o), hessian);
}

/// Copies share memory, and descend() works in place.
QuantizedWeight copy(const QuantizedWeight& weight) {
  QuantizedWeight out = weight;
  out.codes = Tensor::of<int8_t>(weight.codes.shape(), weight.codes.values<int8_t>());
  out.scales = Tensor::of<float>(weight.scales.shape(), weight.scales.values<float>());
  return out;
}

bool same(const QuantizedWeight& a, const QuantizedWeight& b) {
  return std::ranges::equal(a.codes.bytes(), b.codes.bytes()) &&
         std::ranges::equal(a.scales.bytes(), b.scales.bytes());
}

/// Returns what is left.
double go_down(const Tensor& weight, const Square& hessian, QuantizedWeight& rounded) {
  double left = 0;
  descend(weight, DescentMetric(hessian.view(), kDamping), rounded, Team(), left);
  return left;
}

std::vector<WeightFormat> formats(int64_t inputs) {
  return {WeightFormat{}, WeightFormat::four_bit(inputs, inputs, false),
          WeightFormat::four_bit(inputs, 16, false)};
}

TEST(Descent, NeverRaisesTheObjectiveOfAnyOutput) {
  const Tensor weight = random_weight(24, 64, 1);
  const Square hessian = correlated(64, 6, 2);
  for (const WeightFormat& format : formats(64)) {
    SCOPED_TRACE(testing::Message() << format.bits << " bits, group " << format.group);
    const QuantizedWeight before = quantize_nearest(weight, format, "w");
    QuantizedWeight after = copy(before);
    go_down(weight, hessian, after);
    for (int64_t o = 0; o < 24; ++o) {
      // Strictly less: rounding to nearest ignores how inputs go together.
      EXPECT_LT(objective(weight, after, hessian, o), objective(weight, before, hessian, o)) << o;
    }
  }
}

// The gradients that every step keeps up say the same as the whole matrices.
TEST(Descent, KnowsWhatIsLeft) {
  const Tensor weight = random_weight(37, 96, 31);
  const Square hessian = correlated(96, 8, 32);
  double largest = 0;
  for (int64_t i = 0; i < 96; ++i) largest = std::max(largest, hessian.at(i, i));
  int exponent = 0;
  std::frexp(largest, &exponent);
  for (const WeightFormat& format : formats(96)) {
    QuantizedWeight rounded = quantize_nearest(weight, format, "w");
    const double left = go_down(weight, hessian, rounded);
    const Tensor real = dequantize(rounded);
    double sum = 0;
    for (int64_t o = 0; o < 37; ++o) {
      const float *w = weight.matrix<float>().row(o), *q = real.matrix<float>().row(o);
      for (int64_t i = 0; i < 96; ++i) {
        for (int64_t j = 0; j < 96; ++j) {
          sum += static_cast<double>(w[i] - q[i]) * hessian.at(i, j) *
                 static_cast<double>(w[j] - q[j]);
        }
      }
    }
    // 37 · 96² products in double, and differences in f32: 2^-24 of each at most.
    EXPECT_NEAR(left, std::ldexp(sum, -exponent), 1e-5 * left);
  }
}

TEST(Descent, ImprovesWhatGptqLeaves) {
  const Tensor weight = random_weight(16, 64, 3);
  const Square hessian = correlated(64, 6, 4);
  const WeightFormat format = WeightFormat::four_bit(64, 16, false);
  GptqReport report;
  const QuantizedWeight by_gptq = quantize_gptq(weight, hessian.view(), format, "w", report);
  QuantizedWeight again = copy(by_gptq);
  go_down(weight, hessian, again);
  double before = 0, after = 0;
  for (int64_t o = 0; o < 16; ++o) {
    before += objective(weight, by_gptq, hessian, o);
    after += objective(weight, again, hessian, o);
    EXPECT_LE(objective(weight, again, hessian, o),
              objective(weight, by_gptq, hessian, o) * (1 + 1e-12));
  }
  EXPECT_LE(after, before);
  EXPECT_LT(report.error, report.error_nearest);
}

TEST(Descent, IndependentInputsLeaveNearestCodesAsTheyAre) {
  const Tensor weight = random_weight(8, 32, 5);
  Square identity(32);
  for (int64_t i = 0; i < 32; ++i) identity.at(i, i) = 1;
  QuantizedWeight rounded = quantize_nearest(weight, WeightFormat{}, "w");
  const QuantizedWeight before = copy(rounded);
  go_down(weight, identity, rounded);
  EXPECT_TRUE(same(before, rounded));
}

TEST(Descent, LeavesDeadInputsAndPerTensorWeightsAlone) {
  const Tensor weight = random_weight(4, 32, 6);
  Square hessian = correlated(32, 3, 7);
  for (int64_t i = 0; i < 32; ++i) hessian.at(i, 9) = hessian.at(9, i) = 0;
  QuantizedWeight rounded = quantize_nearest(weight, WeightFormat{}, "w");
  const QuantizedWeight before = copy(rounded);
  go_down(weight, hessian, rounded);
  EXPECT_FALSE(same(before, rounded));
  for (int64_t o = 0; o < 4; ++o) {
    EXPECT_EQ(rounded.codes.matrix<int8_t>().row(o)[9], before.codes.matrix<int8_t>().row(o)[9]);
  }
  WeightFormat one;
  one.granularity = WeightFormat::Granularity::per_tensor;
  QuantizedWeight whole = quantize_nearest(weight, one, "w");
  const QuantizedWeight kept = copy(whole);
  go_down(weight, hessian, whole);
  EXPECT_TRUE(same(kept, whole));
}

TEST(Descent, OutputsDoNotInfluenceEachOther) {
  const Tensor weight = random_weight(6, 48, 8);
  const Square hessian = correlated(48, 5, 9);
  const WeightFormat format = WeightFormat::four_bit(48, 16, false);
  QuantizedWeight all = quantize_nearest(weight, format, "w");
  go_down(weight, hessian, all);
  const Tensor last =
      Tensor::of<float>({1, 48}, std::span(weight.matrix<float>().row(5), size_t{48}));
  QuantizedWeight alone = quantize_nearest(last, format, "w");
  go_down(last, hessian, alone);
  EXPECT_TRUE(std::equal(alone.codes.values<int8_t>().begin(), alone.codes.values<int8_t>().end(),
                         all.codes.matrix<int8_t>().row(5)));
}

TEST(Descent, ScalesStayHalfPrecision) {
  const Tensor weight = random_weight(8, 64, 10);
  const Square hessian = correlated(64, 4, 11);
  QuantizedWeight rounded = quantize_nearest(weight, WeightFormat::four_bit(64, 16, false), "w");
  const QuantizedWeight before = copy(rounded);
  go_down(weight, hessian, rounded);
  EXPECT_FALSE(std::ranges::equal(before.scales.bytes(), rounded.scales.bytes()));
  for (const float scale : rounded.scales.values<float>()) {
    EXPECT_EQ(scale, half_scale(static_cast<double>(scale)));
  }
}

/// The least objective over all codes of 3 inputs with this scale.
double brute_force(const float* weight, float scale, const Square& hessian) {
  double best = std::numeric_limits<double>::infinity();
  for (int a = -8; a < 8; ++a) {
    for (int b = -8; b < 8; ++b) {
      for (int c = -8; c < 8; ++c) {
        const float rounded[] = {scale * static_cast<float>(a), scale * static_cast<float>(b),
                                 scale * static_cast<float>(c)};
        best = std::min(best, objective(weight, rounded, hessian));
      }
    }
  }
  return best;
}

TEST(Descent, EndsWhereNoSingleCodeCanBeBettered) {
  int optimal = 0;
  for (uint64_t seed = 0; seed < 20; ++seed) {
    const Tensor weight = random_weight(1, 3, 20 + seed);
    const Square hessian = correlated(3, 1, 40 + seed);
    QuantizedWeight rounded = quantize_nearest(weight, WeightFormat::four_bit(3, 3, false), "w");
    go_down(weight, hessian, rounded);
    const float scale = rounded.scales.values<float>()[0];
    const double found = objective(weight, rounded, hessian, 0);
    for (int64_t k = 0; k < 3; ++k) {
      for (int code = -8; code < 8; ++code) {
        QuantizedWeight other = copy(rounded);
        other.codes.mutable_values<int8_t>()[static_cast<size_t>(k)] = static_cast<int8_t>(code);
        EXPECT_GE(objective(weight, other, hessian, 0), found * (1 - 1e-9)) << seed;
      }
    }
    const double least = brute_force(weight.values<float>().data(), scale, hessian);
    EXPECT_GE(found, least * (1 - 1e-9));
    optimal += found <= least * (1 + 1e-9) ? 1 : 0;
  }
  // One coordinate at a time may stop beside the best point, but not always.
  EXPECT_GE(optimal, 5);
}

}  // namespace
}  // namespace scute::descent_test
