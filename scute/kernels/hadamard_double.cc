#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>

#include "scute/kernels/hadamard.h"
#include "scute/kernels/hadamard_signs.h"

namespace scute {
namespace {

/// The largest factor that is mixed by its entries; H_40 is two of H_20.
constexpr size_t kMostOrder = 28;

/// (a + b, a − b) of two runs of n values.
void butterfly(double* a, double* b, size_t n) {
  for (size_t i = 0; i < n; ++i) {
    const double u = a[i], v = b[i];
    a[i] = u + v;
    b[i] = u - v;
  }
}

/// v ← H_n · v, n a power of two.
void transform_power(double* v, size_t n) {
  for (size_t half = 1; half < n; half *= 2) {
    for (size_t i = 0; i < n; i += 2 * half) butterfly(v + i, v + i + half, half);
  }
}

/// v ← (H ⊗ I_width) · v for the `order` × `order` signs of H; width is a power of two.
void mix(double* v, const float* signs, size_t order, size_t width) {
  constexpr size_t kColumns = 8;  // at a time, so that the compiler sees vectors
  const size_t count = std::min(kColumns, width);
  std::array<std::array<double, kColumns>, kMostOrder> from{};
  for (size_t c = 0; c < width; c += count) {
    for (size_t j = 0; j < order; ++j) std::copy_n(v + j * width + c, count, from[j].begin());
    for (size_t i = 0; i < order; ++i) {
      std::array<double, kColumns> sum{};
      for (size_t j = 0; j < order; ++j) {
        const auto sign = static_cast<double>(signs[i * order + j]);
        for (size_t k = 0; k < kColumns; ++k) sum[k] += sign * from[j][k];
      }
      std::copy_n(sum.begin(), count, v + i * width + c);
    }
  }
}

/// In the order of the float transform.
void transform_row(double* v, size_t factor, size_t width, const float* signs) {
  const size_t n = factor * width;
  const double scale = 1 / std::sqrt(static_cast<double>(n));
  std::for_each(v, v + n, [scale](double& value) { value *= scale; });
  for (size_t j = 0; j < factor; ++j) transform_power(v + j * width, width);
  if (factor == 1) return;
  const size_t parts = factor == 40 ? 2 : 1;
  const size_t part = n / parts;
  if (parts == 2) butterfly(v, v + part, part);
  for (size_t p = 0; p < parts; ++p) mix(v + p * part, signs, factor / parts, width);
}

void transform_rows(MatView<double> x, hadamard::Direction direction) {
  const auto factor = hadamard_factor(x.cols);
  if (!factor) return;
  const float* signs = hadamard::signs_of(*factor, direction);
  const auto k = static_cast<size_t>(*factor), width = static_cast<size_t>(x.cols / *factor);
  for (int64_t r = 0; r < x.rows; ++r) transform_row(x.row(r), k, width, signs);
}

}  // namespace

void hadamard_rows(MatView<double> x) noexcept { transform_rows(x, hadamard::Direction::forward); }
void inverse_hadamard_rows(MatView<double> x) noexcept {
  transform_rows(x, hadamard::Direction::inverse);
}

}  // namespace scute
