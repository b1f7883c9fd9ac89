// Student's distribution, through the regularized incomplete beta function.
#include <cmath>

#include "scute/base/portable_math.h"
#include "scute/experiments/difference.h"

namespace scute {
namespace {

/// The continued fraction of I_x(a, b) (DLMF 8.17.22) by the modified method of Lentz (Thompson and
/// Barnett, J. Comput. Phys. 64, 1986). Converges in about √max(a, b) steps for x < (a+1)/(a+b+2).
double beta_fraction(double a, double b, double x) {
  constexpr double kTiny = 1e-300, kClose = 1e-15;
  constexpr int kSteps = 100'000;
  const auto nonzero = [](double value) { return std::abs(value) < kTiny ? kTiny : value; };
  double c = 1, d = 1 / nonzero(1 - (a + b) * x / (a + 1));
  double out = d;
  for (int m = 1; m <= kSteps; ++m) {
    const double even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m));
    d = 1 / nonzero(1 + even * d);
    c = nonzero(1 + even / c);
    out *= d * c;
    const double odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1));
    d = 1 / nonzero(1 + odd * d);
    c = nonzero(1 + odd / c);
    out *= d * c;
    if (std::abs(d * c - 1) < kClose) break;
  }
  return out;
}

/// I_x(a, b). `rest` is 1 − x, given apart because the subtraction would lose it.
double incomplete_beta(double a, double b, double x, double rest) {
  if (x <= 0) return 0;
  if (rest <= 0) return 1;
  const double front = portable::exp(std::lgamma(a + b) - std::lgamma(a) - std::lgamma(b) +
                                     a * portable::log(x) + b * portable::log(rest));
  if (x < (a + 1) / (a + b + 2)) return front * beta_fraction(a, b, x) / a;
  return 1 - front * beta_fraction(b, a, rest) / b;
}

}  // namespace

double student_p(double t, double freedom) {
  if (std::isnan(t) || !(freedom > 0)) return 1;
  const double square = t * t;
  if (std::isinf(square)) return 0;
  if (std::isinf(freedom)) return std::erfc(std::abs(t) / std::sqrt(2.0));
  // P(|T| > t) = I_x(ν/2, 1/2) with x = ν/(ν + t²) (Abramowitz and Stegun 26.7.1).
  const double sum = freedom + square;
  return incomplete_beta(freedom / 2, 0.5, freedom / sum, square / sum);
}

}  // namespace scute
