#include <algorithm>
#include <bit>
#include <cstring>

#include "scute/kernels/gemm_int8_kernel.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "scute/kernels/gemm_int8_highway.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "hwy/highway.h"
#include "scute/kernels/gemm_int4_codes-inl.h"

HWY_BEFORE_NAMESPACE();
namespace scute {
namespace HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;

// 16 registers: 12 sums, 2 weights, 1 input and 1 product; 32: 24 sums and 4 weights. More rows
// would need more registers, fewer would load more weights for each product.
constexpr int64_t kBlockRows = 6;

#if HWY_TARGET == HWY_SCALAR || HWY_TARGET == HWY_EMU128

void prepare(const int8_t* x, int64_t count, int64_t rows, std::byte* to) {
  for (int64_t k = 0; k < count; k += kInt8Quad, to += rows * kInt8Quad) {
    std::memcpy(to, x + k, kInt8Quad);
  }
}

void multiply(const Int8Rows& rows, int32_t* sums) {
  for (int64_t r = 0; r < rows.rows; ++r, sums += kInt8Panel) {
    const auto* x = reinterpret_cast<const int8_t*>(rows.x) + r * kInt8Quad;
    const int8_t* w = rows.w;
    std::fill_n(sums, kInt8Panel, rows.start == nullptr ? 0 : rows.start[r]);
    for (int64_t q = 0; q < rows.quads; ++q, x += rows.rows * kInt8Quad) {
      for (int64_t o = 0; o < kInt8Panel; ++o, w += kInt8Quad) {
        sums[o] += x[0] * w[0] + x[1] * w[1] + x[2] * w[2] + x[3] * w[3];
      }
    }
  }
}

void finish(const Int8Sums& from, const Int8Output& y) {
  for (int64_t r = 0; r < y.rows; ++r) {
    const int32_t* sums = from.sums + r * from.stride;
    int32_t* to = y.data + r * y.stride;
    for (int64_t o = 0; o < y.cols; ++o) {
      const int32_t sum = sums[o] + (from.resumes ? to[o] : 0);
      const bool scaled = from.ends && y.scales != nullptr;
      to[o] = scaled ? std::bit_cast<int32_t>(static_cast<float>(sum) * y.scales[o]) : sum;
    }
  }
}

constexpr int64_t kCodeBytes = 1;

#else

using D = hn::CappedTag<int32_t, 16>;
using V = hn::Vec<D>;
using DFloat = hn::RebindToFloat<D>;
using DWide = hn::Repartition<int16_t, D>;
using Wide = hn::Vec<DWide>;
using DCodes = hn::Rebind<int8_t, DWide>;
using DQuad = hn::Repartition<int64_t, D>;

constexpr int64_t kCodeBytes = 2;
constexpr int64_t kLanes = hn::MaxLanes(D());
/// Bytes of the weights that one vector of sums meets at once.
constexpr int64_t kVectorBytes = 2 * kLanes;
/// Vectors of sums of a panel.
constexpr int64_t kPanelVectors = kInt8Panel * kInt8Quad / kVectorBytes;
constexpr int64_t kBlockVectors = kLanes >= 16 ? 4 : 2;
/// Of one row: as many as registers allow, so that it reads the weights in their order.
constexpr int64_t kRowVectors = std::min<int64_t>(kPanelVectors, 8);

HWY_INLINE Wide load_codes(const int8_t* w) {
  return hn::PromoteTo(DWide(), hn::LoadU(DCodes(), w));
}
HWY_INLINE Wide broadcast_quad(const int16_t* x) {
  int64_t quad;
  std::memcpy(&quad, x, sizeof(quad));
  return hn::BitCast(DWide(), hn::Set(DQuad(), quad));
}

/// Adds two neighbouring products to each sum. A pair of products is at most 2·2^14 and is added in
/// int32 (vpmaddwd on x86): nothing saturates.
HWY_INLINE void add_pairs(Wide x, Wide w, V& sum) {
#if HWY_TARGET == HWY_AVX2 || HWY_TARGET == HWY_AVX3
  // The addition by name and in its place: GCC 12 otherwise forms many products before it adds
  // them, spills 8 of 12 sums and copies the rest.
  V odd = hn::Zero(D());
  const V product = hn::ReorderWidenMulAccumulate(D(), x, w, odd, odd);
  asm volatile("vpaddd %1, %0, %0" : "+v"(sum.raw) : "v"(product.raw));
#elif HWY_ARCH_X86
  V odd = hn::Zero(D());
  sum = hn::ReorderWidenMulAccumulate(D(), x, w, sum, odd);  // leaves `odd` alone
#else
  V odd = hn::Zero(D());
  const V even = hn::ReorderWidenMulAccumulate(D(), x, w, hn::Zero(D()), odd);
  sum = hn::Add(sum, hn::RearrangeToOddPlusEven(even, odd));
#endif
}

/// Sums of pairs, two for an output: added up, those of both vectors side by side.
HWY_INLINE V join_pairs(V low, V high) {
  const D d;
  const auto added = [&](V v) {
    const auto odd = hn::ShiftRight<32>(hn::BitCast(hn::RebindToUnsigned<DQuad>(), v));
    return hn::Add(v, hn::BitCast(d, odd));
  };
  return hn::ConcatEven(d, added(high), added(low));
}

/// R rows by N vectors of sums, from vector `first` of the panel on. GCC 12 keeps arrays of vectors
/// in registers only where all loops over them are unrolled.
template <int64_t R, int64_t N>
HWY_INLINE void multiply_vectors(const Int8Rows& rows, int64_t first, int32_t* HWY_RESTRICT sums) {
  const D d;
  const auto* HWY_RESTRICT x = reinterpret_cast<const int16_t*>(rows.x);
  const int8_t* HWY_RESTRICT w = rows.w + first * kVectorBytes;
  V pairs[R][N];
#pragma GCC unroll 16
  for (int64_t r = 0; r < R; ++r) {
#pragma GCC unroll 16
    for (int64_t n = 0; n < N; ++n) pairs[r][n] = hn::Zero(d);
  }
  for (int64_t q = rows.quads; q > 0; --q, x += R * kInt8Quad, w += kInt8Panel * kInt8Quad) {
    Wide weights[N];
#pragma GCC unroll 16
    for (int64_t n = 0; n < N; ++n) weights[n] = load_codes(w + n * kVectorBytes);
#pragma GCC unroll 16
    for (int64_t r = 0; r < R; ++r) {
      const Wide quad = broadcast_quad(x + r * kInt8Quad);
#pragma GCC unroll 16
      for (int64_t n = 0; n < N; ++n) add_pairs(quad, weights[n], pairs[r][n]);
    }
  }
#pragma GCC unroll 16
  for (int64_t r = 0; r < R; ++r) {
    const V start = hn::Set(d, rows.start == nullptr ? 0 : rows.start[r]);
#pragma GCC unroll 16
    for (int64_t n = 0; n < N; n += 2) {
      const V all = hn::Add(start, join_pairs(pairs[r][n], pairs[r][n + 1]));
      hn::StoreU(all, d, sums + r * kInt8Panel + (first + n) / 2 * kLanes);
    }
  }
}

template <int64_t R>
HWY_NOINLINE void multiply_rows(const Int8Rows& rows, int32_t* sums) {
  constexpr int64_t kVectors = R == 1 ? kRowVectors : kBlockVectors;
  for (int64_t n = 0; n < kPanelVectors; n += kVectors) {
    multiply_vectors<R, kVectors>(rows, n, sums);
  }
}

void multiply(const Int8Rows& rows, int32_t* sums) {
  switch (rows.rows) {
    case 1:
      return multiply_rows<1>(rows, sums);
    case 2:
      return multiply_rows<2>(rows, sums);
    case 3:
      return multiply_rows<3>(rows, sums);
    case 4:
      return multiply_rows<4>(rows, sums);
    case 5:
      return multiply_rows<5>(rows, sums);
    default:
      return multiply_rows<kBlockRows>(rows, sums);
  }
}

void prepare(const int8_t* x, int64_t count, int64_t rows, std::byte* to) {
  HWY_ALIGN int16_t wide[2 * kLanes];
  for (int64_t k = 0; k < count; k += 2 * kLanes) {
    hn::Store(load_codes(x + k), DWide(), wide);
    for (int64_t q = 0; q < 2 * kLanes; q += kInt8Quad, to += rows * kInt8Quad * kCodeBytes) {
      std::memcpy(to, wide + q, kInt8Quad * kCodeBytes);
    }
  }
}

void finish_row(const Int8Sums& from, const int32_t* sums, const float* scales, int64_t cols,
                int32_t* y) {
  const D d;
  int64_t o = 0;
  for (; o + kLanes <= cols; o += kLanes) {
    V sum = hn::LoadU(d, sums + o);
    if (from.resumes) sum = hn::Add(sum, hn::LoadU(d, y + o));
    if (scales != nullptr) {
      const auto values = hn::ConvertTo(DFloat(), sum);
      sum = hn::BitCast(d, hn::Mul(values, hn::LoadU(DFloat(), scales + o)));
    }
    hn::StoreU(sum, d, y + o);
  }
  for (; o < cols; ++o) {
    const int32_t sum = sums[o] + (from.resumes ? y[o] : 0);
    y[o] = scales == nullptr ? sum : std::bit_cast<int32_t>(static_cast<float>(sum) * scales[o]);
  }
}

void finish(const Int8Sums& from, const Int8Output& y) {
  for (int64_t r = 0; r < y.rows; ++r) {
    finish_row(from, from.sums + r * from.stride, from.ends ? y.scales : nullptr, y.cols,
               y.data + r * y.stride);
  }
}

#endif

const Int8Kernel* kernel() {
  static constexpr Int8Kernel kKernel{.name = "highway int8",
                                      .int4_name = "highway int4 × int8",
                                      .rows = kBlockRows,
                                      .code_bytes = kCodeBytes,
                                      .flip = 0,
                                      .prepare = &prepare,
                                      .multiply = &multiply,
                                      .finish = &finish,
                                      .widen = &widen,
                                      .multiply_row = kMultiplyRow,
                                      .prepare_row = kPrepareRow,
                                      .row_needs_127 = true};
  return &kKernel;
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace scute
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace scute {
namespace {
HWY_EXPORT(kernel);
}  // namespace

const Int8Kernel& highway_int8_kernel() { return *HWY_DYNAMIC_DISPATCH(kernel)(); }

}  // namespace scute
#endif
