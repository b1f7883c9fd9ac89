#include "scute/base/random.h"

#include <cmath>
#include <numbers>

#include "scute/base/portable_math.h"

namespace scute {

uint64_t Random::next() {
  state_ += 0x9e3779b97f4a7c15u;
  uint64_t z = state_;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

uint64_t Random::below(uint64_t n) {
  // The first (2^64 mod n) values would make small results likelier: skip them.
  const uint64_t skip = (0 - n) % n;
  for (;;) {
    const uint64_t value = next();
    if (value >= skip) return value % n;
  }
}

double Random::uniform() { return static_cast<double>(next() >> 11) * 0x1p-53; }

double Random::normal() {
  const double radius = std::sqrt(-2 * portable::log(1 - uniform()));
  return radius * portable::cos(2 * std::numbers::pi * uniform());
}

}  // namespace scute
