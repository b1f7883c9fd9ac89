#include "scute/base/portable_math.h"

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>

// Coefficients and steps of e_exp.c, e_log.c, k_sin.c, k_cos.c and e_rem_pio2.c: Copyright (C) 1993
// by Sun Microsystems, Inc. All rights reserved. Developed at SunPro, a Sun Microsystems, Inc.
// business. Permission to use, copy, modify, and distribute this software is freely granted,
// provided that this notice is preserved.

namespace scute::portable {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kLn2High = 6.93147180369123816490e-01;  // its last 32 bits are 0
constexpr double kLn2Low = 1.90821492927058770002e-10;

/// The nearest whole number, of |x| < 2^51.
double nearest(double x) {
  constexpr double kMagic = 0x1.8p52;
  return (x + kMagic) - kMagic;
}

/// 2^k of a normal number.
double power_of_two(int64_t k) {
  return std::bit_cast<double>(static_cast<uint64_t>(k + 1023) << 52);
}

/// sin(x + low) of |x| < π/4.
double sin_of_reduced(double x, double low) {
  constexpr double kS1 = -1.66666666666666324348e-01, kS2 = 8.33333333332248946124e-03,
                   kS3 = -1.98412698298579493134e-04, kS4 = 2.75573137070700676789e-06,
                   kS5 = -2.50507602534068634195e-08, kS6 = 1.58969099521155010221e-10;
  const double z = x * x, w = z * z, cube = z * x;
  const double r = kS2 + z * (kS3 + z * kS4) + z * w * (kS5 + z * kS6);
  return x - ((z * (0.5 * low - cube * r) - low) - cube * kS1);
}

double cos_of_reduced(double x, double low) {
  constexpr double kC1 = 4.16666666666666019037e-02, kC2 = -1.38888888888741095749e-03,
                   kC3 = 2.48015872894767294178e-05, kC4 = -2.75573143513906633035e-07,
                   kC5 = 2.08757232129817482790e-09, kC6 = -1.13596475577881948265e-11;
  const double z = x * x, w = z * z;
  const double r = z * (kC1 + z * (kC2 + z * kC3)) + w * w * (kC4 + z * (kC5 + z * kC6));
  const double half = 0.5 * z, rest = 1.0 - half;
  return rest + (((1.0 - rest) - half) + (z * r - x * low));
}

/// x less a whole number of quarter turns: within ±π/4, in two parts.
struct Reduced {
  double high, low;
  int64_t quarters;
};

/// π/2 in three parts of 33 bits, whose products with a whole number below 2^20 are exact, and what
/// each leaves. The later parts are used where the earlier ones cancel.
Reduced reduce(double x) {
  constexpr double kTwoOverPi = 6.36619772367581382433e-01;
  constexpr double kParts[3] = {1.57079632673412561417e+00, 6.07710050630396597660e-11,
                                2.02226624871116645580e-21};
  constexpr double kRests[3] = {6.07710050650619224932e-11, 2.02226624879595063154e-21,
                                8.47842766036889956997e-32};
  const auto exponent = [](double v) {
    return static_cast<int>(std::bit_cast<uint64_t>(v) >> 52 & 0x7ff);
  };
  const double turns = nearest(x * kTwoOverPi);
  double r = x - turns * kParts[0], w = turns * kRests[0];
  double high = r - w;
  constexpr int kLost[2] = {16, 49};  // bits that may cancel before the next part is needed
  for (int part = 1; part < 3 && exponent(x) - exponent(high) > kLost[part - 1]; ++part) {
    const double before = r;
    w = turns * kParts[part];
    r = before - w;
    w = turns * kRests[part] - ((before - r) - w);
    high = r - w;
  }
  return {high, (r - high) - w, static_cast<int64_t>(turns)};
}

constexpr double kMostReduced = 0x1p20 * 1.5707963267948966;

/// sin of x and `quarters` quarter turns.
double sin_of_quarters(double x, int64_t quarters) {
  const Reduced r = reduce(x);
  const int64_t all = r.quarters + quarters;
  const double y = (all & 1) == 0 ? sin_of_reduced(r.high, r.low) : cos_of_reduced(r.high, r.low);
  return (all & 2) == 0 ? y : -y;
}

}  // namespace

double exp(double x) noexcept {
  if (!(x < 709.79)) return x > 0 ? kInfinity : x;
  if (x < -745.2) return 0;
  constexpr double kP1 = 1.66666666666666019037e-01, kP2 = -2.77777777770155933842e-03,
                   kP3 = 6.61375632143793436117e-05, kP4 = -1.65339022054652515390e-06,
                   kP5 = 4.13813679705723846039e-08, kLog2E = 1.44269504088896338700e+00;
  const double k = nearest(x * kLog2E);
  const double high = x - k * kLn2High, low = k * kLn2Low;
  const double r = high - low, t = r * r;
  const double c = r - t * (kP1 + t * (kP2 + t * (kP3 + t * (kP4 + t * kP5))));
  const double y = 1.0 - ((low - (r * c) / (2.0 - c)) - high);
  // In two steps, because 2^k alone may be too large or too small for a double.
  const auto power = static_cast<int64_t>(k), first = power / 2;
  return y * power_of_two(first) * power_of_two(power - first);
}

double log(double x) noexcept {
  if (!(x > 0)) return x == 0 ? -kInfinity : std::numeric_limits<double>::quiet_NaN();
  if (x == kInfinity) return x;
  int64_t k = 0;
  if (x < std::numeric_limits<double>::min()) {
    k = -54;
    x *= 0x1p54;
  }
  // x = 2^k · (1 + f), with √½ < 1 + f < √2.
  auto bits = std::bit_cast<uint64_t>(x);
  k += static_cast<int64_t>(bits >> 52) - 1023;
  bits = (bits & 0xfffffffffffffu) | 0x3ff0000000000000u;
  double m = std::bit_cast<double>(bits);
  if (m > 1.4142135623730951) {
    m *= 0.5;
    ++k;
  }
  constexpr double kL1 = 6.666666666666735130e-01, kL2 = 3.999999999940941908e-01,
                   kL3 = 2.857142874366239149e-01, kL4 = 2.222219843214978396e-01,
                   kL5 = 1.818357216161805012e-01, kL6 = 1.531383769920937332e-01,
                   kL7 = 1.479819860511658591e-01;
  const double f = m - 1.0, s = f / (2.0 + f), z = s * s, w = z * z;
  const double even = w * (kL2 + w * (kL4 + w * kL6));
  const double odd = z * (kL1 + w * (kL3 + w * (kL5 + w * kL7)));
  const double half = 0.5 * f * f, power = static_cast<double>(k);
  return power * kLn2High - ((half - (s * (half + even + odd) + power * kLn2Low)) - f);
}

double log10(double x) noexcept { return log(x) / 2.30258509299404568402; }

double pow(double x, double y) noexcept { return y == 0 ? 1 : exp(y * log(x)); }

double sin(double x) noexcept {
  if (!(std::abs(x) < kMostReduced)) return std::sin(x);
  if (std::abs(x) < 0x1p-27) return x;
  return sin_of_quarters(x, 0);
}

double cos(double x) noexcept {
  if (!(std::abs(x) < kMostReduced)) return std::cos(x);
  return sin_of_quarters(x, 1);
}

}  // namespace scute::portable
