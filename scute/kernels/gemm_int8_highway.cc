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

// 16 registers: 8 sums, 4 weights, 2 inputs and 2 factors. More rows would need more registers,
// fewer would load more weights for each product.
constexpr int64_t kBlockRows = 4;

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

constexpr int64_t kCodeBytes = 1, kSliceOutputs = kInt8Panel, kSliceQuads = 0;
constexpr decltype(Int8Kernel::start) kStart = nullptr;
constexpr decltype(Int8Kernel::load_slice) kLoadSlice = nullptr;

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
/// Vectors of sums of a panel, and of one row that is alone: as many as registers allow, so that it
/// reads the weights in their order.
constexpr int64_t kPanelVectors = kInt8Panel * kInt8Quad / kVectorBytes;
constexpr int64_t kRowVectors = std::min<int64_t>(kPanelVectors, 8);
/// A slice has two vectors of sums, and their outputs' starts before the weights.
constexpr int64_t kSliceOutputs = kLanes, kSliceStart = 64;
constexpr int64_t kSliceQuads = kInt8SliceBytes / (kSliceOutputs * kInt8Quad * kCodeBytes);

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

/// One row that is alone and kRowVectors vectors of sums, from vector `first` of the panel on. GCC
/// 12 keeps arrays of vectors in registers only where all loops over them are unrolled.
HWY_INLINE void multiply_vectors(const Int8Rows& row, int64_t first, int32_t* HWY_RESTRICT sums) {
  const D d;
  const auto* HWY_RESTRICT x = reinterpret_cast<const int16_t*>(row.x);
  const int8_t* HWY_RESTRICT w = row.w + first * kVectorBytes;
  V pairs[kRowVectors];
#pragma GCC unroll 16
  for (int64_t n = 0; n < kRowVectors; ++n) pairs[n] = hn::Zero(d);
  for (int64_t q = row.quads; q > 0; --q, x += kInt8Quad, w += kInt8Panel * kInt8Quad) {
    const Wide quad = broadcast_quad(x);
#pragma GCC unroll 16
    for (int64_t n = 0; n < kRowVectors; ++n) {
      add_pairs(quad, load_codes(w + n * kVectorBytes), pairs[n]);
    }
  }
  const V start = hn::Set(d, row.start == nullptr ? 0 : row.start[0]);
#pragma GCC unroll 16
  for (int64_t n = 0; n < kRowVectors; n += 2) {
    const V all = hn::Add(start, join_pairs(pairs[n], pairs[n + 1]));
    hn::StoreU(all, d, sums + (first + n) / 2 * kLanes);
  }
}

HWY_NOINLINE void multiply_alone(const Int8Rows& row, int32_t* sums) {
  for (int64_t n = 0; n < kPanelVectors; n += kRowVectors) multiply_vectors(row, n, sums);
}

// Several rows are multiplied by Winograd's identity, two quads x, x' and w, w' at a time:
//   Σ x·w + Σ x'·w' = Σ (x + w')·(x' + w) − Σ x·x' − Σ w·w'
// Factors take 9 bits; sums wrap, so that all is exact modulo 2^32, and the sums wanted fit.
// One vpmaddwd with two vpaddw before it does what two would, as many instructions in all, but half
// as many multiplications: 2 of the 4 vector units of Zen 4 multiply, 2 · 16 multiply-adds a cycle,
// and the vpaddd that land on these two leave 24 of them to a block by plain vpmaddwd (its loads
// included) and 31 to this one. vpmaddubsw would need as many instructions, one to move signs.

/// The weights of a slice: where the sums of its outputs start, then for every two quads the
/// vectors of the first and those of the second.
void load_slice(const int8_t* w, int64_t quads, std::byte* to) {
  const D d;
  auto* out = reinterpret_cast<int16_t*>(to + kSliceStart);
  V low = hn::Zero(d), high = low;
  constexpr int64_t kQuadBytes = kInt8Panel * kInt8Quad;
  for (int64_t q = 0; q < quads; q += 2, w += 2 * kQuadBytes, out += 8 * kLanes) {
    const Wide first = load_codes(w), second = load_codes(w + kVectorBytes);
    const Wide next_first = load_codes(w + kQuadBytes);
    const Wide next_second = load_codes(w + kQuadBytes + kVectorBytes);
    hn::Store(first, DWide(), out);
    hn::Store(second, DWide(), out + 2 * kLanes);
    hn::Store(next_first, DWide(), out + 4 * kLanes);
    hn::Store(next_second, DWide(), out + 6 * kLanes);
    add_pairs(first, next_first, low);
    add_pairs(second, next_second, high);
  }
  hn::Store(hn::Neg(join_pairs(low, high)), d, reinterpret_cast<int32_t*>(to));
}

/// −Σ x·x'. Of at most 131071 inputs; twice that fits.
int32_t start_of(const int8_t* x, int64_t count, bool alone) {
  if (alone) return 0;
  V twice = hn::Zero(D());
  for (int64_t k = 0; k < count; k += 2 * kLanes) {
    const Wide codes = load_codes(x + k);
    add_pairs(codes, hn::BitCast(DWide(), hn::Shuffle01(hn::BitCast(DQuad(), codes))), twice);
  }
  return -hn::GetLane(hn::SumOfLanes(D(), twice)) / 2;
}

template <int64_t R>
HWY_NOINLINE void multiply_rows(const Int8Rows& rows, int32_t* HWY_RESTRICT sums) {
  const D d;
  const DWide dw;
  const auto* HWY_RESTRICT x = reinterpret_cast<const int16_t*>(rows.x);
  const auto* HWY_RESTRICT w = reinterpret_cast<const int16_t*>(rows.slice + kSliceStart);
  V pairs[R][2];
#pragma GCC unroll 16
  for (int64_t r = 0; r < R; ++r) pairs[r][0] = pairs[r][1] = hn::Zero(d);
  for (int64_t q = rows.quads; q > 0; q -= 2, x += 2 * R * kInt8Quad, w += 8 * kLanes) {
    const Wide first = hn::Load(dw, w), second = hn::Load(dw, w + 2 * kLanes);
    const Wide next_first = hn::Load(dw, w + 4 * kLanes);
    const Wide next_second = hn::Load(dw, w + 6 * kLanes);
#pragma GCC unroll 16
    for (int64_t r = 0; r < R; ++r) {
      const Wide quad = broadcast_quad(x + r * kInt8Quad);
      const Wide next = broadcast_quad(x + (R + r) * kInt8Quad);
      add_pairs(hn::Add(next, first), hn::Add(quad, next_first), pairs[r][0]);
      add_pairs(hn::Add(next, second), hn::Add(quad, next_second), pairs[r][1]);
    }
  }
  const V outputs = hn::Load(d, reinterpret_cast<const int32_t*>(rows.slice));
#pragma GCC unroll 16
  for (int64_t r = 0; r < R; ++r) {
    const V start = hn::Add(outputs, hn::Set(d, rows.start == nullptr ? 0 : rows.start[r]));
    hn::StoreU(hn::Add(start, join_pairs(pairs[r][0], pairs[r][1])), d, sums + r * kSliceOutputs);
  }
}

void multiply(const Int8Rows& rows, int32_t* sums) {
  if (rows.alone) return multiply_alone(rows, sums);
  switch (rows.rows) {
    case 1:
      return multiply_rows<1>(rows, sums);
    case 2:
      return multiply_rows<2>(rows, sums);
    case 3:
      return multiply_rows<3>(rows, sums);
    default:
      return multiply_rows<kBlockRows>(rows, sums);
  }
}

constexpr auto* kStart = &start_of;
constexpr auto* kLoadSlice = &load_slice;

void prepare(const int8_t* x, int64_t count, int64_t rows, std::byte* to) {
  HWY_ALIGN int16_t wide[2 * kLanes];
  for (int64_t k = 0; k < count; k += 2 * kLanes) {
    hn::Store(load_codes(x + k), DWide(), wide);
    for (int64_t q = 0; q < 2 * kLanes; q += kInt8Quad, to += rows * kInt8Quad * kCodeBytes) {
      std::memcpy(to, wide + q, kInt8Quad * kCodeBytes);
    }
  }
}

/// Modulo 2^32: the sums of some inputs alone may not fit.
HWY_INLINE int32_t wrapped_sum(int32_t a, int32_t b) {
  return static_cast<int32_t>(static_cast<uint32_t>(a) + static_cast<uint32_t>(b));
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
    const int32_t sum = from.resumes ? wrapped_sum(sums[o], y[o]) : sums[o];
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
                                      .start = kStart,
                                      .load_slice = kLoadSlice,
                                      .slice_outputs = kSliceOutputs,
                                      .slice_quads = kSliceQuads,
                                      .multiply = &multiply,
                                      .finish = &finish,
                                      .widen = &widen,
                                      .multiply_row = kMultiplyRow,
                                      .prepare_row = kPrepareRow};
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
