#include "scute/quantize/gptq.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <span>
#include <vector>

#include "scute/base/error.h"
#include "scute/base/random.h"
#include "scute/quantize/group_scale.h"
#include "scute/quantize/test_data.h"

namespace scute::gptq_test {
namespace {

using Granularity = WeightFormat::Granularity;
using testing::HasSubstr;
using testing::ThrowsMessage;

Square identity(int64_t n) {
  Square out(n);
  for (int64_t i = 0; i < n; ++i) out.at(i, i) = 1;
  return out;
}

/// Σ x·xᵀ of tokens that are mixtures of `sources` and a little noise of their own.
Square correlated(int64_t n, int64_t sources, double noise, uint64_t seed) {
  Random random(seed);
  std::vector<double> mix(static_cast<size_t>(n * sources));
  for (double& m : mix) m = random.normal();
  Square out(n);
  std::vector<double> x(static_cast<size_t>(n)), source(static_cast<size_t>(sources));
  for (int64_t token = 0; token < 2 * n; ++token) {
    for (double& s : source) s = random.normal();
    for (int64_t i = 0; i < n; ++i) {
      double sum = noise * random.normal();
      for (int64_t s = 0; s < sources; ++s) {
        sum += mix[static_cast<size_t>(i * sources + s)] * source[static_cast<size_t>(s)];
      }
      x[static_cast<size_t>(i)] = sum;
    }
    for (int64_t i = 0; i < n; ++i) {
      for (int64_t j = 0; j < n; ++j) {
        out.at(i, j) += x[static_cast<size_t>(i)] * x[static_cast<size_t>(j)];
      }
    }
  }
  return out;
}

WeightFormat eight_bit(Granularity granularity) {
  return {.bits = 8, .granularity = granularity, .group = 32, .two_level = false};
}

bool same(const Tensor& a, const Tensor& b) {
  return a.shape() == b.shape() && std::ranges::equal(a.bytes(), b.bytes());
}

void expect_same(const QuantizedWeight& a, const QuantizedWeight& b) {
  EXPECT_TRUE(same(a.codes, b.codes));
  EXPECT_TRUE(same(a.scales, b.scales));
  EXPECT_TRUE(same(a.channel_scales, b.channel_scales));
}

/// tr((W − Q)·H·(W − Q)ᵀ) / tr(W·H·Wᵀ), written down plainly.
double relative_error(const Tensor& weight, const Tensor& rounded, Square hessian) {
  double error = 0, all = 0;
  const auto w = weight.matrix<float>(), q = rounded.matrix<float>();
  for (int64_t o = 0; o < w.rows; ++o) {
    for (int64_t i = 0; i < w.cols; ++i) {
      for (int64_t j = 0; j < w.cols; ++j) {
        const double wi = w.row(o)[i], wj = w.row(o)[j], qi = q.row(o)[i], qj = q.row(o)[j];
        error += (wi - qi) * hessian.at(i, j) * (wj - qj);
        all += wi * hessian.at(i, j) * wj;
      }
    }
  }
  return error / all;
}

/// By Gauss-Jordan.
Square inverse_of(Square h) {
  Square inverse = identity(h.n);
  for (int64_t p = 0; p < h.n; ++p) {
    const double pivot = h.at(p, p);
    for (int64_t j = 0; j < h.n; ++j) {
      h.at(p, j) /= pivot;
      inverse.at(p, j) /= pivot;
    }
    for (int64_t i = 0; i < h.n; ++i) {
      const double factor = h.at(i, p);
      if (i == p) continue;
      for (int64_t j = 0; j < h.n; ++j) {
        h.at(i, j) -= factor * h.at(p, j);
        inverse.at(i, j) -= factor * inverse.at(p, j);
      }
    }
  }
  return inverse;
}

Square damped_one_percent(Square h) {
  double mean = 0;
  for (int64_t i = 0; i < h.n; ++i) mean += h.at(i, i) / static_cast<double>(h.n);
  for (int64_t i = 0; i < h.n; ++i) h.at(i, i) += 0.01 * mean;
  return h;
}

/// GPTQ from its definition, for one output: after each input is rounded, all that follow take the
/// values that minimize the error, by the inverse of what is left of H. Neither a factorization nor
/// blocks. Returns code · scale.
std::vector<float> plain_gptq(std::span<const float> weights, Square inverse,
                              const WeightFormat& format) {
  std::vector<double> w(weights.begin(), weights.end());
  const int64_t n = inverse.n, group = format.group_inputs(n);
  std::vector<float> out;
  float scale = 0;
  for (int64_t k = 0; k < n; ++k) {
    if (k % group == 0) {
      const std::vector<float> members(w.begin() + k, w.begin() + k + group);
      scale = group_scale(members, format.bits);
    }
    const double wanted = w[static_cast<size_t>(k)], pivot = inverse.at(k, k);
    out.push_back(weight_grid(format.bits, scale).round(static_cast<float>(wanted)));
    const double error = (wanted - out.back()) / pivot;
    for (int64_t j = k + 1; j < n; ++j) w[static_cast<size_t>(j)] -= error * inverse.at(k, j);
    // The inverse of H without input k.
    for (int64_t i = k + 1; i < n; ++i) {
      const double factor = inverse.at(i, k) / pivot;
      for (int64_t j = k + 1; j < n; ++j) inverse.at(i, j) -= factor * inverse.at(k, j);
    }
  }
  return out;
}

TEST(Gptq, MakesLessErrorThanRoundingToNearestOnCorrelatedInputs) {
  const Tensor weight = random_weight(24, 256, 1);
  const Square hessian = correlated(256, 16, 0.3, 2);
  for (const WeightFormat& format :
       {WeightFormat::four_bit(256, 64, false), WeightFormat::four_bit(256, 128, false),
        WeightFormat::four_bit(256, 256, false), WeightFormat::four_bit(256, 64, true),
        eight_bit(Granularity::per_channel), eight_bit(Granularity::per_tensor),
        eight_bit(Granularity::per_group)}) {
    GptqReport report;
    const QuantizedWeight q = quantize_gptq(weight, hessian.view(), format, "w", report);
    EXPECT_EQ(report.attempts, 1);
    EXPECT_EQ(report.damping, 0.01);
    EXPECT_EQ(report.dead, 0);
    // 24 · 256² products in double: relative rounding far below 1e-9.
    EXPECT_NEAR(report.error, relative_error(weight, dequantize(q), hessian), 1e-9 * report.error);
    const QuantizedWeight nearest = quantize_nearest(weight, format, "w");
    const double plain = relative_error(weight, dequantize(nearest), hessian);
    EXPECT_NEAR(report.error_nearest, plain, 1e-9 * plain);
    // What two levels round a second time is not made good.
    EXPECT_LT(report.error, (format.two_level ? 0.7 : 0.5) * report.error_nearest);
    EXPECT_GT(report.error, 0);
  }
}

TEST(Gptq, IsWhatItsDefinitionSaysForGroupsOfAnySize) {
  // Groups smaller than a block of 128, not dividing it, and larger; then whole outputs, two full
  // blocks and a part.
  constexpr int64_t kOutputs = 3, kInputs = 288;
  const Tensor weight = random_weight(kOutputs, kInputs, 3);
  const Square hessian = correlated(kInputs, 20, 0.5, 4);
  const Square inverse = inverse_of(damped_one_percent(hessian));
  std::vector<WeightFormat> formats = {eight_bit(Granularity::per_channel)};
  for (const int64_t group : {32, 96, 144, 288}) {
    formats.push_back(WeightFormat::four_bit(kInputs, group, false));
  }
  for (const WeightFormat& format : formats) {
    GptqReport report;
    const Tensor q =
        dequantize(quantize_gptq(weight, hessian.view(), format, "w", report, Descent::off));
    for (int64_t o = 0; o < kOutputs; ++o) {
      const auto row = weight.values<float>().subspan(static_cast<size_t>(o * kInputs), kInputs);
      const auto plain = plain_gptq(row, inverse, format);
      // The two sums differ by about 1e-13. A code could differ only where a weight lies that near
      // to, or rounds to a float exactly at, the middle of two: at 2^−24 · 127 for 8 bits, one in
      // 10^5 weights. None does with these seeds.
      EXPECT_TRUE(std::equal(plain.begin(), plain.end(), q.matrix<float>().row(o)))
          << "output " << o << ", groups of " << format.group_inputs(kInputs);
    }
  }
}

TEST(Gptq, UncorrelatedInputsAreRoundedToNearest) {
  const Tensor weight = random_weight(20, 256, 5);
  const Square hessian = identity(256);
  for (const WeightFormat& format :
       {eight_bit(Granularity::per_tensor), eight_bit(Granularity::per_channel),
        eight_bit(Granularity::per_group), WeightFormat::four_bit(256, 64, false),
        WeightFormat::four_bit(256, 64, true)}) {
    GptqReport report;
    expect_same(quantize_gptq(weight, hessian.view(), format, "w", report, Descent::off),
                quantize_nearest(weight, format, "w"));
    EXPECT_EQ(report.error, report.error_nearest);
  }
}

TEST(Gptq, TreatsEachOutputAlone) {
  const Tensor weight = random_weight(37, 160, 9);
  const Square hessian = correlated(160, 12, 0.4, 10);
  const WeightFormat format = WeightFormat::four_bit(160, 32, true);
  GptqReport report;
  const QuantizedWeight all = quantize_gptq(weight, hessian.view(), format, "w", report);
  for (const int64_t o : {0, 15, 16, 36}) {
    const auto row = weight.values<float>().subspan(static_cast<size_t>(o * 160), 160);
    const QuantizedWeight one =
        quantize_gptq(Tensor::of<float>({1, 160}, row), hessian.view(), format, "w", report);
    for (int64_t k = 0; k < 160; ++k) {
      EXPECT_EQ(one.codes.matrix<int8_t>().row(0)[k], all.codes.matrix<int8_t>().row(o)[k]);
    }
    EXPECT_EQ(one.scales.values<float>()[4], all.scales.matrix<float>().row(o)[4]);
    EXPECT_EQ(one.channel_scales.values<float>()[0], all.channel_scales.matrix<float>().row(o)[0]);
  }
}

/// Codes, scales and every figure, also where an input is dead and one scale is that of all.
TEST(Gptq, OutputsThatComeSomeAfterTheOthersAreTheSameBytes) {
  const Tensor weight = random_weight(75, 160, 21);
  for (const bool dead : {false, true}) {
    Square hessian = correlated(160, 8, 0.3, 22);
    for (int64_t i = 0; dead && i < 160; ++i) hessian.at(i, 9) = hessian.at(9, i) = 0;
    for (const WeightFormat& format :
         {eight_bit(Granularity::per_channel), eight_bit(Granularity::per_tensor),
          WeightFormat::four_bit(160, 32, false), WeightFormat::four_bit(160, 32, true)}) {
      GptqReport report;
      const QuantizedWeight all = quantize_gptq(weight, hessian.view(), format, "w", report);
      Gptq some(hessian.view(), 160, format, "w");
      some.see(weight, "w");
      for (int64_t first = 0; first < 75; first += 7) {
        const int64_t count = std::min<int64_t>(7, 75 - first);
        const QuantizedWeight next = some.round(weight.rows(first, count), "w");
        EXPECT_TRUE(same(next.codes, all.codes.rows(first, count)));
        const bool one = all.scales.size() == 1;
        EXPECT_TRUE(same(next.scales, one ? all.scales : all.scales.rows(first, count)));
        EXPECT_TRUE(!format.two_level ||
                    same(next.channel_scales, all.channel_scales.rows(first, count)));
      }
      EXPECT_EQ(some.report().error, report.error);
      EXPECT_EQ(some.report().error_nearest, report.error_nearest);
    }
  }
}

// Three tiles, the last not full, for more threads than tiles too.
TEST(Gptq, TheSameBytesAndFiguresForAnyNumberOfThreads) {
  const Tensor weight = random_weight(75, 160, 21);
  const Square hessian = correlated(160, 8, 0.3, 22);
  for (const WeightFormat& format :
       {eight_bit(Granularity::per_channel), eight_bit(Granularity::per_tensor),
        WeightFormat::four_bit(160, 32, true)}) {
    GptqReport alone;
    const QuantizedWeight one = quantize_gptq(weight, hessian.view(), format, "w", alone);
    const QuantizedWeight nearest = quantize_nearest(weight, format, "w");
    for (const int count : {2, 5}) {
      SCOPED_TRACE(testing::Message() << format.bits << " bits, " << count << " threads");
      const Threads threads(count);
      GptqReport report;
      expect_same(
          quantize_gptq(weight, hessian.view(), format, "w", report, Descent::on, threads.team()),
          one);
      EXPECT_EQ(report.error, alone.error);
      EXPECT_EQ(report.error_nearest, alone.error_nearest);
      expect_same(quantize_nearest(weight, format, "w", threads.team()), nearest);
    }
  }
}

TEST(Gptq, DeadInputsGetZeroWeightsAndCountForNothing) {
  constexpr int64_t kInputs = 64;
  Tensor weight = random_weight(3, kInputs, 11);
  Square hessian = correlated(kInputs, 8, 0.3, 12);
  for (const int64_t dead : {5, 40}) {
    for (int64_t i = 0; i < kInputs; ++i) hessian.at(i, dead) = hessian.at(dead, i) = 0;
    for (int64_t o = 0; o < 3; ++o) weight.mutable_matrix<float>().row(o)[dead] = 1e6f;
  }
  GptqReport report;
  const QuantizedWeight q =
      quantize_gptq(weight, hessian.view(), eight_bit(Granularity::per_channel), "w", report);
  EXPECT_EQ(report.dead, 2);
  for (int64_t o = 0; o < 3; ++o) {
    EXPECT_EQ(q.codes.matrix<int8_t>().row(o)[5], 0);
    EXPECT_EQ(q.codes.matrix<int8_t>().row(o)[40], 0);
    EXPECT_LT(q.scales.values<float>()[static_cast<size_t>(o)], 0.1f);  // 1e6 chose no scale
  }
  EXPECT_LT(report.error, 1e-3);
  EXPECT_NEAR(report.error, relative_error(weight, dequantize(q), hessian), 1e-9 * report.error);
}

TEST(Gptq, DeadInputsDependOnNoOther) {
  const Tensor weight = random_weight(3, 32, 23);
  Square clean = correlated(32, 8, 0.3, 24);
  for (int64_t i = 0; i < 32; ++i) clean.at(i, 9) = clean.at(9, i) = 0;
  Square inconsistent = clean;  // no Σ x·xᵀ has this
  inconsistent.at(9, 12) = inconsistent.at(12, 9) = inconsistent.at(2, 9) = 400;
  GptqReport report, other;
  expect_same(quantize_gptq(weight, clean.view(), {}, "w", report),
              quantize_gptq(weight, inconsistent.view(), {}, "w", other));
  EXPECT_EQ(other.attempts, 1);
}

TEST(Gptq, InputsThatAreAllDeadGiveZeroesAndNoError) {
  GptqReport report;
  const QuantizedWeight q = quantize_gptq(random_weight(2, 8, 13), Square(8).view(),
                                          WeightFormat::four_bit(8, 4, false), "w", report);
  EXPECT_THAT(q.codes.values<int8_t>(), testing::Each(0));
  EXPECT_EQ(report.dead, 8);
  EXPECT_EQ(report.error, 0);
  EXPECT_EQ(report.error_nearest, 0);
}

TEST(Gptq, SingularHessianIsDampedOnce) {
  const Square hessian = correlated(64, 3, 0, 14);  // rank 3
  GptqReport report;
  quantize_gptq(random_weight(4, 64, 15), hessian.view(), WeightFormat::four_bit(64, 32, false),
                "w", report);
  EXPECT_EQ(report.attempts, 1);
  EXPECT_EQ(report.damping, 0.01);
  EXPECT_LT(report.error, 0.5 * report.error_nearest);
}

TEST(Gptq, IndefiniteHessianIsDampedUntilItIsDefinite) {
  Square hessian = identity(16);
  hessian.at(3, 7) = hessian.at(7, 3) =
      1.5;  // eigenvalues −0.5 and 2.5: 1 times the mean is enough
  GptqReport report;
  const QuantizedWeight q = quantize_gptq(random_weight(2, 16, 16), hessian.view(),
                                          eight_bit(Granularity::per_channel), "w", report);
  EXPECT_EQ(report.attempts, 3);
  EXPECT_DOUBLE_EQ(report.damping, 1);
  EXPECT_EQ(q.codes.shape(), (Shape{2, 16}));
}

TEST(Gptq, HopelessHessiansAreRefusedByName) {
  Square hessian = identity(16);
  hessian.at(3, 7) = hessian.at(7, 3) = 1e9;
  GptqReport report;
  const Tensor weight = random_weight(2, 16, 17);
  EXPECT_THAT([&] { quantize_gptq(weight, hessian.view(), {}, "layer_1.out_proj", report); },
              ThrowsMessage<Error>(HasSubstr("layer_1.out_proj")));
  Square negative(16);
  negative.at(2, 2) = -1;
  EXPECT_THROW(quantize_gptq(weight, negative.view(), {}, "w", report), Error);
}

TEST(Gptq, NotFiniteOrMisshapenInputsAreRefused) {
  const Tensor weight = random_weight(2, 16, 18);
  GptqReport report;
  for (const double bad :
       {std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::infinity()}) {
    Square hessian = identity(16);
    hessian.at(2, 9) = hessian.at(9, 2) = bad;
    EXPECT_THAT([&] { quantize_gptq(weight, hessian.view(), {}, "w", report); },
                ThrowsMessage<Error>(HasSubstr("(2, 9)")));
  }
  EXPECT_THROW(quantize_gptq(weight, identity(15).view(), {}, "w", report), Error);
  Tensor nan = random_weight(2, 16, 18);
  nan.mutable_values<float>()[3] = std::numeric_limits<float>::quiet_NaN();
  EXPECT_THROW(quantize_gptq(nan, identity(16).view(), {}, "w", report), Error);
  EXPECT_THROW(
      quantize_gptq(weight, identity(16).view(), WeightFormat::four_bit(16, 5, false), "w", report),
      Error);
}

TEST(Gptq, FactorsOfTheHessianDoNotMatter) {
  const Tensor weight = random_weight(4, 96, 19);
  const Square hessian = correlated(96, 8, 0.3, 20);
  const WeightFormat format = WeightFormat::four_bit(96, 32, false);
  GptqReport report;
  const QuantizedWeight q = quantize_gptq(weight, hessian.view(), format, "w", report);
  for (const int exponent : {-1000, -1, 1, 1010}) {
    Square other = hessian;
    for (double& h : other.values) h = std::ldexp(h, exponent);
    GptqReport scaled;
    expect_same(quantize_gptq(weight, other.view(), format, "w", scaled), q);
    // A power of two changes no digit; at 2^1010 the sum of the diagonal alone would overflow.
    EXPECT_DOUBLE_EQ(scaled.error, report.error) << exponent;
  }
}

TEST(Gptq, ReadsTheUpperTriangleOnly) {
  const Tensor weight = random_weight(4, 40, 21);
  const Square hessian = correlated(40, 8, 0.3, 22);
  Square upper = hessian;
  for (int64_t i = 0; i < 40; ++i) {
    for (int64_t j = 0; j < i; ++j) upper.at(i, j) = std::numeric_limits<double>::quiet_NaN();
  }
  GptqReport report;
  expect_same(quantize_gptq(weight, hessian.view(), {}, "w", report),
              quantize_gptq(weight, upper.view(), {}, "w", report));
}

}  // namespace
}  // namespace scute::gptq_test
