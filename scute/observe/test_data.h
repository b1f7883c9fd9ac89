// Seeded random data for the tests of observe and decide.
#pragma once

#include <cmath>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "scute/base/random.h"
#include "scute/tensor/dtype.h"

namespace scute::testing_data {

inline double laplace(Random& random) {
  const double u = random.uniform() - 0.5;
  return (u < 0 ? 1 : -1) * std::log1p(-2 * std::abs(u));
}
inline double student3(Random& random) {
  double chi = 0;
  for (int i = 0; i < 3; ++i) chi += std::pow(random.normal(), 2);
  return random.normal() / std::sqrt(chi / 3);
}
inline double silu(Random& random) {
  const double x = 2 * random.normal();
  return x / (1 + std::exp(-x));
}
/// What softplus makes of a dt: positive, skewed.
inline double softplus(Random& random) { return std::log1p(std::exp(random.normal() - 2)); }
inline double relu(Random& random) { return std::max(0.0, random.normal()); }
inline double lognormal(Random& random) { return std::exp(3 * random.normal()); }
inline double normal(Random& random) { return random.normal(); }

struct Family {
  std::string name;
  double (*draw)(Random&);
};
inline const std::vector<Family>& families() {
  static const std::vector<Family> all{
      {"normal", normal},     {"laplace", laplace}, {"student3", student3},  {"silu", silu},
      {"softplus", softplus}, {"relu", relu},       {"lognormal", lognormal}};
  return all;
}

enum class Rounding { none, to_bf16, to_fp16 };

inline std::vector<float> draw(const Family& family, int64_t n, uint64_t seed,
                               Rounding rounding = Rounding::none) {
  Random random(seed);
  std::vector<float> out;
  for (int64_t i = 0; i < n; ++i) {
    const auto x = static_cast<float>(family.draw(random));
    out.push_back(rounding == Rounding::none      ? x
                  : rounding == Rounding::to_bf16 ? to_float(to_bf16(x))
                                                  : to_float(to_f16(x)));
  }
  return out;
}

}  // namespace scute::testing_data
