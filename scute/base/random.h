// Seeded random numbers: the same sequence on every machine, compiler and library.
#pragma once

#include <cstdint>
#include <span>
#include <utility>

namespace scute {

/// Counter-based generator: output i is a function of (seed, i) alone (splitmix64's finalizer over
/// seed-dependent increments; Steele, Lea, Flood, OOPSLA 2014).
class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed) {}

  uint64_t next();
  /// Uniform in [0, n), n ≥ 1, without modulo bias.
  uint64_t below(uint64_t n);
  /// Uniform in [0, 1) with 53 bits.
  double uniform();
  /// Standard normal (Box-Muller, one value per call).
  double normal();

  /// Fisher-Yates.
  template <class T>
  void shuffle(std::span<T> items) {
    for (size_t left = items.size(); left > 1; --left) {
      std::swap(items[left - 1], items[static_cast<size_t>(below(left))]);
    }
  }

 private:
  uint64_t state_;
};

}  // namespace scute
