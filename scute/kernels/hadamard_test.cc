#include "scute/kernels/hadamard.h"

#include <gtest/gtest.h>

#include <hwy/targets.h>
#include <cmath>
#include <limits>
#include <vector>

#include "scute/base/random.h"
#include "scute/kernels/reference_hadamard.h"

namespace scute::hadamard_test {
namespace {

/// Runs `check` with Highway held to each instruction set that this machine has.
template <class Check>
void on_every_target(const Check& check) {
  for (const int64_t target : hwy::SupportedAndGeneratedTargets()) {
    SCOPED_TRACE(hwy::TargetName(target));
    hwy::SetSupportedTargetsForTest(target);
    check();
    hwy::SetSupportedTargetsForTest(0);
  }
}

std::vector<double> draw(int64_t n) {
  Random random(static_cast<uint64_t>(n));
  std::vector<double> values(static_cast<size_t>(n));
  for (double& v : values) v = double{static_cast<float>(random.normal())};
  return values;
}

double norm(const std::vector<double>& v) {
  double sum = 0;
  for (const double x : v) sum += x * x;
  return std::sqrt(sum);
}

/// Every output is a tree of sums of ±v/√n: log2(n/K) levels of butterflies, at most 28 + 1 for the
/// factor, 2 for the scale; each level rounds once by u = 2⁻²⁴. The sum of the n magnitudes is at
/// most √n·|v|, and divided by √n that is |v|.
double tolerance(int64_t n, int64_t factor, double length) {
  const double levels = std::log2(static_cast<double>(n / factor)) + 29 + 2;
  return 1.001 * levels * 0x1p-24 * length;
}

void expect_twin(int64_t n) {
  SCOPED_TRACE(n);
  const auto factor = hadamard_factor(n);
  ASSERT_TRUE(factor.has_value());
  const std::vector<double> v = draw(n);
  std::vector<float> x(v.begin(), v.end());
  hadamard_rows({x.data(), 1, n});
  const std::vector<double> expected = reference_hadamard(v, *factor);
  const double most = tolerance(n, *factor, norm(v));
  for (size_t i = 0; i < x.size(); ++i) ASSERT_NEAR(double{x[i]}, expected[i], most) << i;

  std::vector<float> y(v.begin(), v.end());
  inverse_hadamard_rows({y.data(), 1, n});
  const std::vector<double> inverse = reference_inverse_hadamard(v, *factor);
  for (size_t i = 0; i < y.size(); ++i) ASSERT_NEAR(double{y[i]}, inverse[i], most) << i;
}

/// As `tolerance`, rounding by 2⁻⁵³; and as much again for the reference, whose n terms are added
/// one after the other.
double double_tolerance(int64_t n, int64_t factor, double length) {
  return 0x1p-29 * tolerance(n, factor, length) + 0x1p-53 * static_cast<double>(n) * length;
}

TEST(Hadamard, MatchesItsMatrixOnEveryTarget) {
  on_every_target([] {
    for (const int64_t n :
         {1,   2,   4,   8,   12,  16,  20,  24,  28,  32,  40,  48,  56,  64,   80,  96,
          112, 128, 160, 192, 224, 256, 320, 384, 448, 512, 640, 768, 896, 1024, 1280}) {
      expect_twin(n);
    }
  });
}

TEST(Hadamard, MatchesItsMatrixAtTheWidthsOfRealModels) {
  for (const int64_t n : {1536, 2048, 2560, 5120}) expect_twin(n);
}

TEST(Hadamard, TheMatricesAreOrthogonalWithEntriesOfOne) {
  for (const int64_t order : {1, 2, 8, 12, 20, 28, 40}) {
    const std::vector<int> h = reference_hadamard_matrix(order);
    const auto row = [&](int64_t i) { return h.begin() + i * order; };
    for (int64_t i = 0; i < order; ++i) {
      for (int64_t j = 0; j < order; ++j) {
        ASSERT_EQ(std::abs(row(i)[j]), 1);
        int dot = 0;
        for (int64_t k = 0; k < order; ++k) dot += row(i)[k] * row(j)[k];
        ASSERT_EQ(dot, i == j ? order : 0) << order << ": rows " << i << " and " << j;
      }
    }
  }
}

// Transforming the rows of the unit matrix gives Tᵀ; its rows are orthonormal exactly when T·Tᵀ =
// I. Each entry ±1/√n is off by 3·2⁻²⁴ relative at most (the others in its sums are zero), so a
// product of two rows by 6·2⁻²⁴, and one more for good measure.
TEST(Hadamard, TheTransformIsOrthonormal) {
  for (const int64_t n : {48, 64, 80, 96, 112, 128, 160, 256, 320, 512, 768}) {
    std::vector<float> t(static_cast<size_t>(n * n));
    for (int64_t i = 0; i < n; ++i) t[static_cast<size_t>(i * n + i)] = 1;
    hadamard_rows({t.data(), n, n});
    for (int64_t i = 0; i < n; ++i) {
      for (int64_t j = i; j < n; j += 1 + j % 7) {
        double dot = 0;
        for (int64_t k = 0; k < n; ++k) {
          dot +=
              double{t[static_cast<size_t>(i * n + k)]} * double{t[static_cast<size_t>(j * n + k)]};
        }
        ASSERT_NEAR(dot, i == j ? 1 : 0, 7 * 0x1p-24) << n << ": rows " << i << " and " << j;
      }
    }
  }
}

TEST(Hadamard, TwiceIsTheIdentityForPowersOfTwo) {
  for (const int64_t n : {2, 16, 64, 256, 4096, 8192}) {
    const std::vector<double> v = draw(n);
    std::vector<float> x(v.begin(), v.end());
    hadamard_rows({x.data(), 1, n});
    hadamard_rows({x.data(), 1, n});
    // The second transform keeps the length of the first one's error, which is √n times an entry's.
    const double most = (std::sqrt(static_cast<double>(n)) + 1) * tolerance(n, 1, norm(v));
    for (size_t i = 0; i < x.size(); ++i) ASSERT_NEAR(double{x[i]}, v[i], most) << n << ": " << i;
  }
}

TEST(Hadamard, InDoubleMatchesTheMatrixAndTheFloatTransform) {
  for (const int64_t n : {1, 2, 8, 12, 20, 28, 40, 48, 56, 64, 80, 96, 160, 224, 320, 768, 1536}) {
    SCOPED_TRACE(n);
    const int64_t factor = hadamard_factor(n).value();
    const std::vector<double> v = draw(n);
    const double exact = double_tolerance(n, factor, norm(v)),
                 rough = tolerance(n, factor, norm(v));
    std::vector<double> x = v, y = v;
    std::vector<float> x32(v.begin(), v.end()), y32 = x32;
    hadamard_rows({x.data(), 1, n});
    hadamard_rows({x32.data(), 1, n});
    inverse_hadamard_rows({y.data(), 1, n});
    inverse_hadamard_rows({y32.data(), 1, n});
    const std::vector<double> forward = reference_hadamard(v, factor);
    const std::vector<double> inverse = reference_inverse_hadamard(v, factor);
    for (size_t i = 0; i < x.size(); ++i) {
      ASSERT_NEAR(x[i], forward[i], exact) << i;
      ASSERT_NEAR(y[i], inverse[i], exact) << i;
      ASSERT_NEAR(double{x32[i]}, x[i], rough) << i;
      ASSERT_NEAR(double{y32[i]}, y[i], rough) << i;
    }
  }
}

TEST(Hadamard, TheInverseUndoesTheTransformFromEitherSide) {
  on_every_target([] {
    for (const int64_t n : {1, 16, 12, 20, 40, 80, 160, 28, 56, 320, 1536, 2560}) {
      const int64_t factor = hadamard_factor(n).value();
      const std::vector<double> v = draw(n);
      std::vector<float> x(v.begin(), v.end()), y = x;
      hadamard_rows({x.data(), 1, n});
      inverse_hadamard_rows({x.data(), 1, n});
      inverse_hadamard_rows({y.data(), 1, n});
      hadamard_rows({y.data(), 1, n});
      // The second keeps the length of the first one's error, which is √n times an entry's.
      const double most = (std::sqrt(static_cast<double>(n)) + 1) * tolerance(n, factor, norm(v));
      for (size_t i = 0; i < x.size(); ++i) {
        ASSERT_NEAR(double{x[i]}, v[i], most) << n << ": " << i;
        ASSERT_NEAR(double{y[i]}, v[i], most) << n << ": " << i;
      }
    }
  });
}

TEST(Hadamard, TheInverseIsTheSameTransformWhereTheMatrixIsSymmetric) {
  for (const int64_t n : {64, 12, 96, 28, 224, 20, 40, 320}) {
    const std::vector<double> v = draw(n);
    std::vector<float> x(v.begin(), v.end()), y = x;
    hadamard_rows({x.data(), 1, n});
    inverse_hadamard_rows({y.data(), 1, n});
    const int64_t factor = hadamard_factor(n).value();
    EXPECT_EQ(x == y, factor != 20 && factor != 40) << n;
  }
}

TEST(Hadamard, PassesNanAndInfinityToTheirRowOnly) {
  on_every_target([] {
    std::vector<float> x(3 * 40, 1.0f), y = x;
    x[40] = y[45] = std::numeric_limits<float>::quiet_NaN();
    x[80] = y[81] = std::numeric_limits<float>::infinity();
    hadamard_rows({x.data(), 3, 40});
    inverse_hadamard_rows({y.data(), 3, 40});
    for (size_t i = 0; i < x.size(); ++i) {
      ASSERT_EQ(std::isfinite(x[i]), i < 40) << i;
      ASSERT_EQ(std::isfinite(y[i]), i < 40) << i;
    }
  });
}

template <class T>
void expect_rows_alone(void (*transform)(MatView<T>) noexcept) {
  constexpr int64_t kRows = 3, kCols = 160, kStride = 165;
  const std::vector<double> v = draw(kRows * kStride);
  std::vector<T> x(v.begin(), v.end());
  transform({x.data(), kRows, kCols, kStride});
  for (int64_t r = 0; r < kRows; ++r) {
    const auto from = v.begin() + r * kStride;
    std::vector<T> row(from, from + kCols);
    transform({row.data(), 1, kCols});
    for (int64_t c = 0; c < kStride; ++c) {
      const T found = x[static_cast<size_t>(r * kStride + c)];
      if (c < kCols) {
        ASSERT_EQ(found, row[static_cast<size_t>(c)]) << r << ", " << c;
      } else {
        ASSERT_EQ(found, static_cast<T>(from[c])) << r << ", " << c;
      }
    }
  }
}

TEST(Hadamard, TransformsEachRowOfAStridedViewAlone) {
  on_every_target([] {
    expect_rows_alone<float>(hadamard_rows);
    expect_rows_alone<float>(inverse_hadamard_rows);
  });
  expect_rows_alone<double>(hadamard_rows);
  expect_rows_alone<double>(inverse_hadamard_rows);
}

TEST(Hadamard, FactorFollowsTheRuleOfDivisors) {
  const std::vector<std::pair<int64_t, int64_t>> factors{
      {1, 1},     {64, 1},  {4096, 1}, {12, 12},  {48, 12},   {768, 12},  {1536, 12},
      {3072, 12}, {20, 20}, {40, 40},  {80, 40},  {160, 40},  {320, 40},  {2560, 40},
      {5120, 40}, {28, 28}, {112, 28}, {224, 28}, {1792, 28}, {10240, 40}};
  for (const auto& [n, factor] : factors) EXPECT_EQ(hadamard_factor(n), factor) << n;
  for (const int64_t n : {-12, 0, 3, 7, 10, 17, 36, 36 * 64, 60, 100, 140, 280, 1000}) {
    EXPECT_EQ(hadamard_factor(n), std::nullopt) << n;
  }
}

TEST(Hadamard, LeavesAWidthWithoutFactorAlone) {
  std::vector<float> x(17, 3.0f);
  hadamard_rows({x.data(), 1, 17});
  inverse_hadamard_rows({x.data(), 1, 17});
  EXPECT_EQ(x, std::vector<float>(17, 3.0f));
  std::vector<double> y(17, 3.0);
  hadamard_rows({y.data(), 1, 17});
  inverse_hadamard_rows({y.data(), 1, 17});
  EXPECT_EQ(y, std::vector<double>(17, 3.0));
}

}  // namespace
}  // namespace scute::hadamard_test
