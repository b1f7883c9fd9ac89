#include "scute/models/regressor/ieee_math.h"

#include <algorithm>
#include <cmath>

namespace scute {

double ieee_exp(double x) noexcept {
  if (x < -700) return 0;
  x = std::min(x, 700.0);
  // x = k·ln 2 + r, |r| ≤ ln(2)/2; ln 2 in two parts, the first with 21 zero bits at its end.
  const double k = (x * 0x1.71547652b82fep0 + 0x1.8p52) - 0x1.8p52;
  const double r = (x - k * 0x1.62e42feep-1) - k * 0x1.a39ef35793c76p-33;
  // Taylor's series to r^14/14!: the next term is below 2^-58.
  double sum = 1;
  for (int n = 14; n > 0; --n) sum = 1 + r * sum / n;
  return std::ldexp(sum, static_cast<int>(std::isnan(k) ? 0 : k));
}

double ieee_softplus(double x) noexcept {
  // max(x, 0) + ln(1 + t), t = e^−|x| ≤ 1; ln(1 + t) = 2·artanh(a), a = t/(2 + t) ≤ 1/3, whose
  // series to a^33/33 leaves less than 2^-55 of its sum.
  const double t = ieee_exp(-std::abs(x));
  const double a = t / (2 + t), square = a * a;
  double sum = 0;
  for (int n = 33; n > 0; n -= 2) sum = 1.0 / n + square * sum;
  return std::max(x, 0.0) + 2 * a * sum;
}

}  // namespace scute
