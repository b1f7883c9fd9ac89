#include "scute/quantize/feedback.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "scute/base/random.h"
#include "scute/quantize/test_data.h"

namespace scute::feedback_test {
namespace {

constexpr double kDamping = 0.01;

/// Σ x·xᵀ of more vectors than inputs, times a power of two, so that nothing is scaled.
Square positive(int64_t n, uint64_t seed) {
  Random random(seed);
  Square out(n);
  std::vector<double> x(static_cast<size_t>(n));
  for (int64_t token = 0; token < n + 5; ++token) {
    for (double& value : x) value = random.normal();
    for (int64_t i = 0; i < n; ++i) {
      for (int64_t j = 0; j < n; ++j) {
        out.at(i, j) += x[static_cast<size_t>(i)] * x[static_cast<size_t>(j)];
      }
    }
  }
  double largest = 0;
  for (int64_t i = 0; i < n; ++i) largest = std::max(largest, out.at(i, i));
  int exponent = 0;
  std::frexp(largest, &exponent);
  for (double& value : out.values) value = std::ldexp(value, -exponent);
  return out;
}

ScaledHessian scaled(Square& h) { return ScaledHessian(h.view(), h.n, "h"); }

/// H with damping on its diagonal, inputs reversed.
Square damped_and_reversed(const Square& h) {
  Square out(h.n);
  for (int64_t i = 0; i < h.n; ++i) {
    for (int64_t j = 0; j < h.n; ++j) {
      out.at(i, j) = h.values[static_cast<size_t>((h.n - 1 - i) * h.n + (h.n - 1 - j))];
    }
    out.at(i, i) += kDamping;
  }
  return out;
}

/// Cholesky's method and forward substitution as textbooks have them: U as Feedback has it.
Square plain_feedback(const Square& h) {
  const int64_t n = h.n;
  Square l = damped_and_reversed(h), inverse(n), out(n);
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t j = 0; j <= i; ++j) {
      for (int64_t k = 0; k < j; ++k) l.at(i, j) -= l.at(i, k) * l.at(j, k);
      if (j < i) l.at(i, j) /= l.at(j, j);
    }
    l.at(i, i) = std::sqrt(l.at(i, i));
  }
  for (int64_t c = 0; c < n; ++c) {
    inverse.at(c, c) = 1;
    for (int64_t r = c; r < n; ++r) {
      for (int64_t k = c; k < r; ++k) inverse.at(r, c) -= l.at(r, k) * inverse.at(k, c);
      inverse.at(r, c) /= l.at(r, r);
    }
  }
  for (int64_t r = 0; r < n; ++r) {
    for (int64_t c = 0; c <= r; ++c) out.at(n - 1 - c, n - 1 - r) = inverse.at(r, c);
  }
  return out;
}

TEST(Feedback, HasTheBitsOfPlainLoopsForAnyNumberOfThreads) {
  for (const int64_t n : {1, 2, 8, 31, 32, 33, 64, 65, 97, 130, 200}) {
    Square h = positive(n, 7);
    Square expected = plain_feedback(h);
    for (const int count : {1, 3}) {
      const Threads threads(count);
      const auto found = Feedback::of(scaled(h), kDamping, threads.team());
      ASSERT_TRUE(found.has_value()) << n;
      for (int64_t j = 0; j < n; ++j) {
        for (int64_t k = 0; k <= j; ++k) {
          ASSERT_EQ(found->row(j)[k], expected.at(j, k)) << n << ": " << j << ", " << k;
        }
      }
    }
  }
}

/// U·H·Uᵀ = 1, for H⁻¹ = Uᵀ·U.
TEST(Feedback, IsAFactorOfTheInverse) {
  constexpr int64_t kInputs = 45;
  Square h = positive(kInputs, 3);
  const auto found = Feedback::of(scaled(h), kDamping, {});
  ASSERT_TRUE(found.has_value());
  const auto u = [&](int64_t k, int64_t j) { return j < k ? 0 : found->row(j)[k]; };
  for (int64_t a = 0; a < kInputs; ++a) {
    for (int64_t b = 0; b < kInputs; ++b) {
      double sum = 0;
      for (int64_t i = 0; i < kInputs; ++i) {
        for (int64_t j = 0; j < kInputs; ++j) {
          sum += u(a, i) * (h.at(i, j) + (i == j ? kDamping : 0)) * u(b, j);
        }
      }
      EXPECT_NEAR(sum, a == b ? 1 : 0, 1e-12);
    }
  }
}

/// Wherever it is not, in the first block of columns or in a later one.
TEST(Feedback, ThereIsNoneOfAnIndefiniteHessian) {
  for (const int64_t bad : {0, 5, 60, 99}) {
    Square h = positive(100, 5);
    for (int64_t j = 0; j < h.n; ++j) {
      if (j != bad) h.at(std::min(bad, j), std::max(bad, j)) = 0.75;
    }
    EXPECT_FALSE(Feedback::of(scaled(h), kDamping, {}).has_value()) << bad;
  }
}

}  // namespace
}  // namespace scute::feedback_test
