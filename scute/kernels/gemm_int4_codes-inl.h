// 4-bit codes of two levels as 8-bit ones, in panels or on the way to a row's products; included
// once per instruction set.
#if defined(SCUTE_KERNELS_GEMM_INT4_CODES_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef SCUTE_KERNELS_GEMM_INT4_CODES_INL_H_
#undef SCUTE_KERNELS_GEMM_INT4_CODES_INL_H_
#else
#define SCUTE_KERNELS_GEMM_INT4_CODES_INL_H_
#endif

#include <algorithm>

#include "hwy/highway.h"
#include "scute/kernels/fetch_ahead.h"
#include "scute/kernels/gemm_int8_kernel.h"

HWY_BEFORE_NAMESPACE();
namespace scute {
namespace HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;

#if HWY_TARGET == HWY_SCALAR || HWY_TARGET == HWY_EMU128

void widen(const Int4Outputs& weight, int64_t first, int64_t count, uint8_t flip, int8_t* w) {
  const int64_t in_group = weight.blocks / weight.groups, quads = kInt8Block / kInt8Quad;
  for (int64_t o = 0; o < kInt8Panel; ++o) {
    const Int4Outputs from = weight.from(o);
    for (int64_t b = first; b < first + count; ++b) {
      const float multiplier = from.multipliers[b / in_group];
      for (int64_t k = 0; k < kInt8Block; ++k) {
        const int both = from.codes[b * (kInt8Block / 2) + k % (kInt8Block / 2)];
        const int nibble = k < kInt8Block / 2 ? both & 15 : both >> 4;
        const auto code = static_cast<float>(nibble < 8 ? nibble : nibble - 16);
        const float q = std::clamp(code * multiplier, -128.0f, 127.0f);
        const auto whole = static_cast<int32_t>((q + 0x1.8p23f) - 0x1.8p23f);
        w[(((b - first) * quads + k / kInt8Quad) * kInt8Panel + o) * kInt8Quad + k % kInt8Quad] =
            static_cast<int8_t>(whole ^ flip);
      }
    }
  }
}

#else

using DBytes = hn::FixedTag<uint8_t, 16>;
using Bytes = hn::Vec<DBytes>;
using DShorts = hn::FixedTag<int16_t, 8>;
using Shorts = hn::Vec<DShorts>;
using DWords = hn::FixedTag<uint32_t, 4>;
using Words = hn::Vec<DWords>;

/// The 8-bit codes of 1 … 8, unsaturated. Adding 1.5·2^23 rounds half to even and leaves the whole
/// number in the low bits.
HWY_INLINE Shorts multiplied_codes(float multiplier) {
  alignas(32) static constexpr float kCodes[8] = {1, 2, 3, 4, 5, 6, 7, 8};
  const auto whole = [&](auto d, const float* codes) {
    const hn::RebindToSigned<decltype(d)> words;
    const auto magic = hn::Set(d, 0x1.8p23f);
    const auto q = hn::Mul(hn::Load(d, codes), hn::Set(d, multiplier));
    return hn::Sub(hn::BitCast(words, hn::Add(q, magic)), hn::BitCast(words, magic));
  };
#if HWY_CAP_GE256
  return hn::DemoteTo(DShorts(), whole(hn::FixedTag<float, 8>(), kCodes));
#else
  const hn::FixedTag<float, 4> d;
  const hn::FixedTag<int16_t, 4> half;
  return hn::Combine(DShorts(), hn::DemoteTo(half, whole(d, kCodes + 4)),
                     hn::DemoteTo(half, whole(d, kCodes)));
#endif
}

/// The 8-bit code of each 4-bit code, which is counted from 0: 0 … 7, then −8 … −1.
HWY_INLINE Bytes code_table(float multiplier) {
  const DShorts d;
  const Shorts codes = multiplied_codes(multiplier);
  // Reverse(), in one instruction.
  alignas(16) static constexpr uint8_t kReverse[16] = {14, 15, 12, 13, 10, 11, 8, 9,
                                                       6,  7,  4,  5,  2,  3,  0, 1};
  const Bytes order = hn::Load(DBytes(), kReverse);
  const Shorts reverse = hn::BitCast(d, hn::TableLookupBytes(hn::BitCast(DBytes(), codes), order));
  const Shorts positive = hn::ShiftLeftLanes<1>(d, codes), negative = hn::Neg(reverse);
#if HWY_ARCH_X86
  return Bytes{_mm_packs_epi16(positive.raw, negative.raw)};
#else
  const hn::FixedTag<int8_t, 8> bytes;
  return hn::BitCast(DBytes(),
                     hn::Combine(hn::FixedTag<int8_t, 16>(), hn::DemoteTo(bytes, negative),
                                 hn::DemoteTo(bytes, positive)));
#endif
}

/// The codes of four outputs, 16 inputs each, to four quads of a panel.
HWY_INLINE void store_quads(Bytes o0, Bytes o1, Bytes o2, Bytes o3, int8_t* w) {
  const DWords d;
  const hn::Repartition<uint64_t, DWords> pairs;
  const auto words = [&](Bytes v) { return hn::BitCast(d, v); };
  const auto pair = [&](Words v) { return hn::BitCast(pairs, v); };
  const auto low01 = pair(hn::InterleaveLower(d, words(o0), words(o1)));
  const auto low23 = pair(hn::InterleaveLower(d, words(o2), words(o3)));
  const auto high01 = pair(hn::InterleaveUpper(d, words(o0), words(o1)));
  const auto high23 = pair(hn::InterleaveUpper(d, words(o2), words(o3)));
  const auto store = [&](int64_t quad, auto v) {
    hn::StoreU(hn::BitCast(DBytes(), v), DBytes(),
               reinterpret_cast<uint8_t*>(w + quad * kInt8Panel * kInt8Quad));
  };
  store(0, hn::InterleaveLower(pairs, low01, low23));
  store(1, hn::InterleaveUpper(pairs, low01, low23));
  store(2, hn::InterleaveLower(pairs, high01, high23));
  store(3, hn::InterleaveUpper(pairs, high01, high23));
}

/// One block of four outputs, which lie `stride` bytes apart.
HWY_INLINE void widen_block(const uint8_t* codes, int64_t stride, const Bytes (&table)[4],
                            int8_t* w) {
  const DBytes d;
  const Bytes mask = hn::Set(d, uint8_t{15});
  constexpr int64_t kQuads = kInt8Block / kInt8Quad, kQuadBytes = kInt8Panel * kInt8Quad;
  for (int64_t half = 0; half < 2; ++half, codes += 16) {
    const auto look = [&](int64_t o, bool upper) {
      const Bytes both = hn::LoadU(d, codes + o * stride);
      const hn::Repartition<uint16_t, DBytes> shorts;
      const Bytes moved = hn::BitCast(d, hn::ShiftRight<4>(hn::BitCast(shorts, both)));
      return hn::TableLookupBytes(table[o], hn::And(upper ? moved : both, mask));
    };
    int8_t* to = w + half * 4 * kQuadBytes;
    store_quads(look(0, false), look(1, false), look(2, false), look(3, false), to);
    store_quads(look(0, true), look(1, true), look(2, true), look(3, true),
                to + kQuads / 2 * kQuadBytes);
  }
}

void widen(const Int4Outputs& weight, int64_t first, int64_t count, uint8_t flip, int8_t* w) {
  const int64_t in_group = weight.blocks / weight.groups, stride = weight.blocks * kInt8Block / 2;
  const Bytes flips = hn::Set(DBytes(), flip);
  for (int64_t o = 0; o < kInt8Panel; o += 4) {
    const Int4Outputs from = weight.from(o);
    Bytes table[4];
    for (int64_t b = first; b < first + count; ++b) {
      if (b == first || b % in_group == 0) {
        for (int64_t i = 0; i < 4; ++i) {
          const float multiplier = from.multipliers[i * weight.groups + b / in_group];
          table[i] = hn::Xor(code_table(multiplier), flips);
        }
      }
      widen_block(from.codes + b * (kInt8Block / 2), stride, table,
                  w + (b - first) * kInt8Block * kInt8Panel + o * kInt8Quad);
    }
  }
}

#endif

#if HWY_TARGET == HWY_AVX2 || HWY_TARGET == HWY_AVX3
HWY_INLINE int32_t sum_of_lanes(__m256i sum) {
  __m128i v = _mm_add_epi32(_mm256_castsi256_si128(sum), _mm256_extracti128_si256(sum, 1));
  v = _mm_add_epi32(v, _mm_shuffle_epi32(v, 0x4e));
  return _mm_cvtsi128_si32(_mm_add_epi32(v, _mm_shuffle_epi32(v, 0xb1)));
}

/// For each 32 codes x which of them are negative, s = −1 or 0, then their absolute values. With
/// Σ x·w = Σ |x|·(w xor s) + Σ −x of the negative ones, the latter is where sums start.
int32_t prepare_row(const int8_t* x, int64_t count, std::byte* to) {
  auto* out = reinterpret_cast<__m256i*>(to);
  const __m256i zero = _mm256_setzero_si256();
  __m256i sums = zero;
  for (int64_t k = 0; k < count; k += 32, out += 2) {
    const __m256i codes = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(x + k));
    const __m256i signs = _mm256_cmpgt_epi8(zero, codes), absolute = _mm256_abs_epi8(codes);
    sums = _mm256_add_epi64(sums, _mm256_sad_epu8(_mm256_and_si256(absolute, signs), zero));
    _mm256_storeu_si256(out, signs);
    _mm256_storeu_si256(out + 1, absolute);
  }
  return sum_of_lanes(sums);
}

/// 32 products |x| · (w xor s), |x| ≤ 128 as unsigned bytes, added in pairs in 16 bits: from
/// −2·128·128 = −32,768 to 2·128·127 = 32,512. Nothing saturates, −128 included.
HWY_INLINE __m256i add_products(const std::byte* x, __m256i w, __m256i sum) {
  const __m256i signs = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(x));
  const __m256i absolute = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(x) + 1);
  const __m256i pairs = _mm256_maddubs_epi16(absolute, _mm256_xor_si256(w, signs));
  return _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
}

void multiply_row(const std::byte* x, int32_t start, const Int4Outputs& weight, int64_t count,
                  int32_t* sums) {
  const int64_t in_group = weight.blocks / weight.groups;
  const __m256i mask = _mm256_set1_epi8(15);
  const uint8_t* codes = weight.codes;
  const float* multiplier = weight.multipliers;
  for (int64_t o = 0; o < count; ++o) {
    __m256i low = _mm256_setzero_si256(), high = low;
    const std::byte* in = x;
    for (int64_t g = 0; g < weight.groups; ++g, ++multiplier) {
      const __m256i table = _mm256_broadcastsi128_si256(code_table(*multiplier).raw);
      for (int64_t b = 0; b < in_group; ++b, codes += 32, in += 128) {
        if (b % 2 == 0) fetch_ahead(codes, 64);
        const __m256i both = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(codes));
        const __m256i upper = _mm256_and_si256(_mm256_srli_epi16(both, 4), mask);
        const __m256i lower = _mm256_and_si256(both, mask);
        low = add_products(in, _mm256_shuffle_epi8(table, lower), low);
        high = add_products(in + 64, _mm256_shuffle_epi8(table, upper), high);
      }
    }
    sums[o] = start + sum_of_lanes(_mm256_add_epi32(low, high));
  }
}
constexpr auto* kMultiplyRow = &multiply_row;
constexpr auto* kPrepareRow = &prepare_row;
#else
constexpr decltype(Int8Kernel::multiply_row) kMultiplyRow = nullptr;
constexpr decltype(Int8Kernel::prepare_row) kPrepareRow = nullptr;
#endif

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace scute
HWY_AFTER_NAMESPACE();

#endif  // SCUTE_KERNELS_GEMM_INT4_CODES_INL_H_
