#include "scute/kernels/hadamard.h"

#include <bit>
#include <cmath>
#include <cstddef>

#include "scute/kernels/hadamard_signs.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "scute/kernels/hadamard.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace scute {
namespace HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;

/// The largest factor that is mixed by its entries; H_40 is two of H_20.
constexpr size_t kMostOrder = 28;

/// (a + b, a − b) of two runs of n values, n a multiple of the lanes.
template <class D>
HWY_INLINE void butterfly(D d, float* HWY_RESTRICT a, float* HWY_RESTRICT b, size_t n) {
  for (size_t i = 0; i < n; i += hn::Lanes(d)) {
    const auto u = hn::LoadU(d, a + i), v = hn::LoadU(d, b + i);
    hn::StoreU(hn::Add(u, v), d, a + i);
    hn::StoreU(hn::Sub(u, v), d, b + i);
  }
}

/// The butterfly of lanes 2^Bit apart, given the vector with these lanes exchanged. ±1 times a
/// value is exact.
template <int Bit, class D, class V = hn::Vec<D>>
HWY_INLINE V lane_butterfly(D d, V v, V exchanged) {
  const hn::RebindToUnsigned<D> bits;
  const auto minus = hn::ShiftLeft<31>(hn::ShiftRight<Bit>(hn::Iota(bits, 0)));
  const auto signs = hn::Xor(hn::BitCast(d, minus), hn::Set(d, 1.0f));
  return hn::MulAdd(v, signs, exchanged);
}

/// All butterflies inside one vector: H of order Lanes(d) times v.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V transform_vector(HWY_MAYBE_UNUSED D d, V v) {
#if HWY_TARGET != HWY_SCALAR
  if constexpr (hn::MaxLanes(d) >= 4) {
    v = lane_butterfly<0>(d, v, hn::Shuffle2301(v));
    v = lane_butterfly<1>(d, v, hn::Shuffle1032(v));
  }
  if constexpr (hn::MaxLanes(d) >= 8) v = lane_butterfly<2>(d, v, hn::SwapAdjacentBlocks(v));
  if constexpr (hn::MaxLanes(d) >= 16) {
    // Block i of four goes to 3 − (i xor 1) = i xor 2.
    v = lane_butterfly<3>(d, v, hn::ReverseBlocks(d, hn::SwapAdjacentBlocks(v)));
  }
#endif
  return v;
}

/// The butterflies of kCount vectors `gap` values apart, in registers: between the first and the
/// second, the third and the fourth, …, then two apart and so on. inside(v): what is done to each
/// before.
template <size_t kCount, class D, class Inside>
HWY_INLINE void transform_vectors(D d, float* v, size_t gap, const Inside& inside) {
  hn::Vec<D> x[kCount];
#pragma GCC unroll 8
  for (size_t i = 0; i < kCount; ++i) x[i] = inside(hn::LoadU(d, v + i * gap));
#pragma GCC unroll 4
  for (size_t half = 1; half < kCount; half *= 2) {
#pragma GCC unroll 8
    for (size_t i = 0; i < kCount; ++i) {
      if ((i & half) != 0) continue;
      const auto sum = hn::Add(x[i], x[i + half]);
      x[i + half] = hn::Sub(x[i], x[i + half]);
      x[i] = sum;
    }
  }
#pragma GCC unroll 8
  for (size_t i = 0; i < kCount; ++i) hn::StoreU(x[i], d, v + i * gap);
}

/// v ← scale · H_n · v, n a power of two and a multiple of the lanes.
template <class D>
HWY_INLINE void transform_power(D d, float* v, size_t n, float scale) {
  const size_t lanes = hn::Lanes(d);
  const auto factor = hn::Set(d, scale);
  const auto first = [&](auto x) { return transform_vector(d, hn::Mul(x, factor)); };
  const auto later = [](auto x) { return x; };
  size_t half = lanes;  // what is done: all butterflies less than this apart
  if (n >= 8 * lanes) {
    half = 8 * lanes;
    for (size_t i = 0; i < n; i += half) transform_vectors<8>(d, v + i, lanes, first);
  } else if (n == 4 * lanes) {
    half = 4 * lanes;
    transform_vectors<4>(d, v, lanes, first);
  } else {
    for (size_t i = 0; i < n; i += lanes) transform_vectors<1>(d, v + i, lanes, first);
  }
  for (; 4 * half <= n; half *= 4) {
    for (size_t i = 0; i < n; i += 4 * half) {
      for (size_t c = 0; c < half; c += lanes) transform_vectors<4>(d, v + i + c, half, later);
    }
  }
  for (; half < n; half *= 2) {
    for (size_t i = 0; i < n; i += 2 * half) butterfly(d, v + i, v + i + half, half);
  }
}

/// v ← (H ⊗ I_width) · v for the `order` × `order` signs of H; order is a multiple of 4.
template <class D>
HWY_INLINE void mix(D d, float* v, const float* HWY_RESTRICT signs, size_t order, size_t width) {
  const size_t lanes = hn::Lanes(d);
  HWY_ALIGN float from[kMostOrder * hn::MaxLanes(d)];
  for (size_t c = 0; c < width; c += lanes) {
    for (size_t j = 0; j < order; ++j) {
      hn::Store(hn::LoadU(d, v + j * width + c), d, from + j * lanes);
    }
    // Four outputs at a time hide the latency of the sums. ±1 times a value is exact.
    for (size_t i = 0; i < order; i += 4) {
      const float* s = signs + i * order;
      auto sum0 = hn::Zero(d), sum1 = sum0, sum2 = sum0, sum3 = sum0;
      for (size_t j = 0; j < order; ++j, ++s) {
        const auto value = hn::Load(d, from + j * lanes);
        sum0 = hn::MulAdd(hn::Set(d, s[0]), value, sum0);
        sum1 = hn::MulAdd(hn::Set(d, s[order]), value, sum1);
        sum2 = hn::MulAdd(hn::Set(d, s[2 * order]), value, sum2);
        sum3 = hn::MulAdd(hn::Set(d, s[3 * order]), value, sum3);
      }
      hn::StoreU(sum0, d, v + i * width + c);
      hn::StoreU(sum1, d, v + (i + 1) * width + c);
      hn::StoreU(sum2, d, v + (i + 2) * width + c);
      hn::StoreU(sum3, d, v + (i + 3) * width + c);
    }
  }
}

/// One row of factor · width values; signs are of H_factor, or of H_20 when the factor is 40.
template <class D>
HWY_INLINE void transform_row(D d, float* v, size_t factor, size_t width, const float* signs,
                              float scale) {
  for (size_t j = 0; j < factor; ++j) transform_power(d, v + j * width, width, scale);
  if (factor == 1) return;
  const size_t parts = factor == 40 ? 2 : 1;
  const size_t part = factor / parts * width;
  if (parts == 2) butterfly(d, v, v + part, part);
  for (size_t p = 0; p < parts; ++p) mix(d, v + p * part, signs, factor / parts, width);
}

void transform_rows(MatView<float> x, int64_t factor, const float* signs) {
  const hn::CappedTag<float, 16> d;
  const hn::CappedTag<float, 1> one;  // for runs too short for a vector
  const size_t k = static_cast<size_t>(factor);
  const size_t width = static_cast<size_t>(x.cols / factor);
  const float scale = static_cast<float>(1.0 / std::sqrt(static_cast<double>(x.cols)));
  for (int64_t r = 0; r < x.rows; ++r) {
    if (width >= hn::Lanes(d)) {
      transform_row(d, x.row(r), k, width, signs, scale);
    } else {
      transform_row(one, x.row(r), k, width, signs, scale);
    }
  }
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace scute
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace scute {
namespace {

HWY_EXPORT(transform_rows);

void dispatch(MatView<float> x, hadamard::Direction direction) {
  const auto factor = hadamard_factor(x.cols);
  if (!factor) return;
  HWY_DYNAMIC_DISPATCH(transform_rows)(x, *factor, hadamard::signs_of(*factor, direction));
}

}  // namespace

std::optional<int64_t> hadamard_factor(int64_t n) {
  if (n <= 0) return std::nullopt;
  for (const int64_t factor : {12, 40, 28, 20, 1}) {
    if (n % factor != 0) continue;
    if (!std::has_single_bit(static_cast<uint64_t>(n / factor))) return std::nullopt;
    return factor;
  }
  return std::nullopt;
}

void hadamard_rows(MatView<float> x) noexcept { dispatch(x, hadamard::Direction::forward); }
void inverse_hadamard_rows(MatView<float> x) noexcept { dispatch(x, hadamard::Direction::inverse); }

}  // namespace scute
#endif
