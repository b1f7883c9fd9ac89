// The Hadamard matrices whose order is not a power of two, as tables of ±1 in floats.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace scute::hadamard {

template <size_t N>
using Signs = std::array<float, N * N>;

/// 1 for the squares modulo the prime q, −1 for the others, 0 for 0.
template <size_t Q>
constexpr std::array<float, Q> quadratic_character() {
  std::array<float, Q> chi{};
  for (size_t i = 1; i < Q; ++i) chi[i] = -1;
  for (size_t i = 1; i < Q; ++i) chi[i * i % Q] = 1;
  return chi;
}

/// Paley's first construction, order q + 1, q ≡ 3 mod 4: first row + − − …, first column +, inside
/// −χ(j − i) with + on the diagonal.
template <size_t Q>
constexpr Signs<Q + 1> paley_one() {
  constexpr auto chi = quadratic_character<Q>();
  Signs<Q + 1> h{};
  for (size_t i = 0; i <= Q; ++i) {
    for (size_t j = 0; j <= Q; ++j) {
      float& sign = h[i * (Q + 1) + j];
      if (j == 0 || i == j) {
        sign = 1;
      } else {
        sign = i == 0 ? -1 : -chi[(j + Q - i) % Q];
      }
    }
  }
  return h;
}

/// Paley's second construction, order 2(q + 1), q ≡ 1 mod 4: the conference matrix of order q + 1
/// with each ±1 replaced by ±(+ +, + −) and each 0 by (+ −, − −).
template <size_t Q>
constexpr Signs<2 * (Q + 1)> paley_two() {
  constexpr auto chi = quadratic_character<Q>();
  constexpr size_t order = 2 * (Q + 1);
  Signs<order> h{};
  for (size_t i = 0; i < order; ++i) {
    for (size_t j = 0; j < order; ++j) {
      const size_t a = i / 2, b = j / 2;
      const bool both = i % 2 == 1 && j % 2 == 1;
      float& sign = h[i * order + j];
      if (a == b) {
        sign = i % 2 == 0 && j % 2 == 0 ? 1 : -1;
      } else {
        const float c = a == 0 || b == 0 ? 1 : chi[(b + Q - a) % Q];
        sign = both ? -c : c;
      }
    }
  }
  return h;
}

template <size_t Order>
constexpr Signs<Order> transposed(const Signs<Order>& h) {
  Signs<Order> t{};
  for (size_t i = 0; i < t.size(); ++i) t[i] = h[i % Order * Order + i / Order];
  return t;
}

inline constexpr auto kH12 = paley_two<5>();
inline constexpr auto kH20 = paley_one<19>();
inline constexpr auto kH28 = paley_two<13>();
inline constexpr auto kH20Transposed = transposed<20>(kH20);

enum class Direction { forward, inverse };

/// H_factor, or its transpose; for 40 that of 20; null for 1. H_12 and H_28 are symmetric.
constexpr const float* signs_of(int64_t factor, Direction direction) {
  switch (factor) {
    case 12:
      return kH12.data();
    case 20:
    case 40:
      return direction == Direction::forward ? kH20.data() : kH20Transposed.data();
    case 28:
      return kH28.data();
    default:
      return nullptr;
  }
}

}  // namespace scute::hadamard
