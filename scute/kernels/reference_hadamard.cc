#include "scute/kernels/reference_hadamard.h"

#include <bit>
#include <cmath>

namespace scute {
namespace {

/// Whether a is a square modulo the odd prime q: 1, −1, or 0 for a multiple of q (Euler's
/// criterion: a to the power (q − 1)/2).
int legendre(int64_t a, int64_t q) {
  int64_t power = 1;
  for (int64_t i = 0; i < (q - 1) / 2; ++i) power = power * (((a % q) + q) % q) % q;
  return power == q - 1 ? -1 : static_cast<int>(power);
}

int entry(int64_t order, int64_t i, int64_t j) {
  if (order == 40) return entry(20, i % 20, j % 20) * (i >= 20 && j >= 20 ? -1 : 1);
  if (order == 20) {  // Paley I, q = 19
    if (j == 0) return 1;
    if (i == 0) return -1;
    return legendre(j - i, 19) == 1 ? -1 : 1;
  }
  if (order == 12 || order == 28) {  // Paley II, q = 5 and 13: blocks of two by two
    constexpr int kZero[2][2] = {{1, -1}, {-1, -1}}, kOne[2][2] = {{1, 1}, {1, -1}};
    const int64_t a = i / 2, b = j / 2;
    if (a == b) return kZero[i % 2][j % 2];
    const int sign = a == 0 || b == 0 ? 1 : legendre(b - a, order / 2 - 1);
    return sign * kOne[i % 2][j % 2];
  }
  return std::popcount(static_cast<uint64_t>(i & j)) % 2 == 0 ? 1 : -1;  // Sylvester
}

}  // namespace

std::vector<int> reference_hadamard_matrix(int64_t order) {
  std::vector<int> matrix;
  for (int64_t i = 0; i < order; ++i) {
    for (int64_t j = 0; j < order; ++j) matrix.push_back(entry(order, i, j));
  }
  return matrix;
}

namespace {

/// (1/√n)·Σ_j sign(i, j)·v[j], for slow[factor × factor] and fast as matrices of signs.
std::vector<double> multiply(const std::vector<int>& slow, const std::vector<int>& fast,
                             int64_t factor, const std::vector<double>& v) {
  const auto n = std::ssize(v);
  const int64_t width = n / factor;
  std::vector<double> out;
  for (int64_t i = 0; i < n; ++i) {
    double sum = 0;
    for (int64_t j = 0; j < n; ++j) {
      const int sign = slow[static_cast<size_t>(i / width * factor + j / width)] *
                       fast[static_cast<size_t>(i % width * width + j % width)];
      sum += sign * v[static_cast<size_t>(j)];
    }
    out.push_back(sum / std::sqrt(static_cast<double>(n)));
  }
  return out;
}

std::vector<int> transposed(const std::vector<int>& matrix, int64_t order) {
  std::vector<int> t;
  for (int64_t i = 0; i < order; ++i) {
    for (int64_t j = 0; j < order; ++j) t.push_back(matrix[static_cast<size_t>(j * order + i)]);
  }
  return t;
}

}  // namespace

std::vector<double> reference_hadamard(const std::vector<double>& v, int64_t factor) {
  const int64_t width = std::ssize(v) / factor;
  return multiply(reference_hadamard_matrix(factor), reference_hadamard_matrix(width), factor, v);
}

std::vector<double> reference_inverse_hadamard(const std::vector<double>& v, int64_t factor) {
  const int64_t width = std::ssize(v) / factor;
  return multiply(transposed(reference_hadamard_matrix(factor), factor),
                  transposed(reference_hadamard_matrix(width), width), factor, v);
}

}  // namespace scute
