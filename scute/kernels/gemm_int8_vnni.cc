// Int8 products by AVX-512 VNNI, for which Highway 1.0 has no target of its own.
#include <cstring>

#include "hwy/targets.h"
#include "scute/kernels/gemm_int8_kernel.h"

#if HWY_ARCH_X86 && !HWY_COMPILER_MSVC
#include <immintrin.h>

// vpdpbusd adds four products of an unsigned and a signed byte to 32 bits. Unsigned are the
// weights, stored with 128 added; the sums of a row therefore start from −128 · the sum of its
// inputs. All of it is exact modulo 2^32, and the sums themselves fit.
#define SCUTE_VNNI __attribute__((target("avx2,fma,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")))

namespace scute {
namespace {

/// By name and in its place: GCC 12 otherwise copies and spills the sums.
SCUTE_VNNI inline void add_quads(__m512i& sum, __m512i weights, __m512i inputs) {
  asm volatile("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(weights), "v"(inputs));
}

/// Sums of four rows and more hide the latency of one another; those of fewer are each kept in
/// several parts.
template <int64_t R>
SCUTE_VNNI void multiply_rows_vnni(const Int8Rows& rows, int32_t* sums) {
  constexpr int64_t kParts = R == 1 ? 4 : R <= 3 ? 2 : 1;
  const std::byte* x = rows.x;
  const auto* w = reinterpret_cast<const __m512i*>(rows.w);
  __m512i all[R][kParts][2];
#pragma GCC unroll 16
  for (int64_t r = 0; r < R; ++r) {
#pragma GCC unroll 16
    for (int64_t p = 0; p < kParts; ++p) all[r][p][0] = all[r][p][1] = _mm512_setzero_si512();
  }
  for (int64_t q = 0; q < rows.quads; q += kParts) {
#pragma GCC unroll 16
    for (int64_t p = 0; p < kParts; ++p) {
      if (p > 0 && q + p >= rows.quads) break;
      const __m512i low = _mm512_loadu_si512(w), high = _mm512_loadu_si512(w + 1);
#pragma GCC unroll 16
      for (int64_t r = 0; r < R; ++r) {
        int32_t quad;
        std::memcpy(&quad, x + r * kInt8Quad, sizeof(quad));
        const __m512i inputs = _mm512_set1_epi32(quad);
        add_quads(all[r][p][0], low, inputs);
        add_quads(all[r][p][1], high, inputs);
      }
      w += 2;
      x += R * kInt8Quad;
    }
  }
#pragma GCC unroll 16
  for (int64_t r = 0; r < R; ++r) {
    const __m512i start = _mm512_set1_epi32(rows.start == nullptr ? 0 : rows.start[r]);
#pragma GCC unroll 16
    for (int64_t n = 0; n < 2; ++n) {
      __m512i sum = start;
#pragma GCC unroll 16
      for (int64_t p = 0; p < kParts; ++p) sum = _mm512_add_epi32(sum, all[r][p][n]);
      _mm512_storeu_si512(sums + r * kInt8Panel + n * 16, sum);
    }
  }
}

void multiply_vnni(const Int8Rows& rows, int32_t* sums) {
  switch (rows.rows) {
    case 1:
      return multiply_rows_vnni<1>(rows, sums);
    case 2:
      return multiply_rows_vnni<2>(rows, sums);
    case 3:
      return multiply_rows_vnni<3>(rows, sums);
    case 4:
      return multiply_rows_vnni<4>(rows, sums);
    case 5:
      return multiply_rows_vnni<5>(rows, sums);
    case 6:
      return multiply_rows_vnni<6>(rows, sums);
    case 7:
      return multiply_rows_vnni<7>(rows, sums);
    case 8:
      return multiply_rows_vnni<8>(rows, sums);
    case 9:
      return multiply_rows_vnni<9>(rows, sums);
    case 10:
      return multiply_rows_vnni<10>(rows, sums);
    case 11:
      return multiply_rows_vnni<11>(rows, sums);
    default:
      return multiply_rows_vnni<kInt8MostRows>(rows, sums);
  }
}

void prepare_vnni(const int8_t* x, int64_t count, int64_t rows, std::byte* to) {
  for (int64_t k = 0; k < count; k += kInt8Quad, to += rows * kInt8Quad) {
    std::memcpy(to, x + k, kInt8Quad);
  }
}
/// What the 128 added to each weight comes to.
SCUTE_VNNI int32_t start_vnni(const int8_t* x, int64_t count, bool) {
  int32_t sum = 0;  // at most 131071 · 128 < 2^24
  for (int64_t k = 0; k < count; ++k) sum += x[k];
  return -128 * sum;
}
int32_t prepare_row_vnni(const int8_t* x, int64_t count, std::byte* to) {
  std::memcpy(to, x, static_cast<size_t>(count));
  return start_vnni(x, count, true);
}

/// As code_table() of the other instruction sets, 128 added.
SCUTE_VNNI inline __m256i code_table_vnni(float multiplier) {
  const __m256 codes = _mm256_setr_ps(1, 2, 3, 4, 5, 6, 7, 8);
  const __m256 products = _mm256_mul_ps(codes, _mm256_set1_ps(multiplier));
  const __m128i whole = _mm256_cvtepi32_epi16(_mm256_cvtps_epi32(products));  // halves to even
  const __m128i positive = _mm_slli_si128(whole, 2);
  const __m128i reverse = _mm_setr_epi8(14, 15, 12, 13, 10, 11, 8, 9, 6, 7, 4, 5, 2, 3, 0, 1);
  const __m128i negative = _mm_sub_epi16(_mm_setzero_si128(), _mm_shuffle_epi8(whole, reverse));
  const __m128i table = _mm_packs_epi16(positive, negative);
  return _mm256_broadcastsi128_si256(_mm_xor_si128(table, _mm_set1_epi8(-128)));
}

struct RowSumsVnni {
  __m256i low, high;
};

SCUTE_VNNI inline void add_block_vnni(const uint8_t* codes, const std::byte* x, __m256i table,
                                      RowSumsVnni& sums) {
  const __m256i mask = _mm256_set1_epi8(15);
  const auto* in = reinterpret_cast<const __m256i*>(x);
  const __m256i both = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(codes));
  const __m256i low = _mm256_shuffle_epi8(table, _mm256_and_si256(both, mask));
  const __m256i upper = _mm256_and_si256(_mm256_srli_epi16(both, 4), mask);
  const __m256i high = _mm256_shuffle_epi8(table, upper);
  sums.low = _mm256_dpbusd_epi32(sums.low, low, _mm256_loadu_si256(in));
  sums.high = _mm256_dpbusd_epi32(sums.high, high, _mm256_loadu_si256(in + 1));
}

SCUTE_VNNI void multiply_row_vnni(const std::byte* x, int32_t start, const Int4Outputs& weight,
                                  int64_t count, int32_t* sums) {
  const int64_t in_group = weight.blocks / weight.groups;
  const uint8_t* codes = weight.codes;
  const float* multiplier = weight.multipliers;
  for (int64_t o = 0; o < count; ++o) {
    const __m256i zero = _mm256_setzero_si256();
    RowSumsVnni even{zero, zero}, odd{zero, zero};
    const std::byte* in = x;
    for (int64_t g = 0; g < weight.groups; ++g, ++multiplier) {
      const __m256i table = code_table_vnni(*multiplier);
      int64_t b = 0;
      for (; b + 2 <= in_group; b += 2, codes += 64, in += 128) {
        add_block_vnni(codes, in, table, even);
        add_block_vnni(codes + 32, in + 64, table, odd);
      }
      if (b < in_group) {
        add_block_vnni(codes, in, table, even);
        codes += 32, in += 64;
      }
    }
    const __m256i sum = _mm256_add_epi32(_mm256_add_epi32(even.low, even.high),
                                         _mm256_add_epi32(odd.low, odd.high));
    __m128i v = _mm_add_epi32(_mm256_castsi256_si128(sum), _mm256_extracti128_si256(sum, 1));
    v = _mm_add_epi32(v, _mm_shuffle_epi32(v, 0x4e));
    v = _mm_add_epi32(v, _mm_shuffle_epi32(v, 0xb1));
    sums[o] = _mm_cvtsi128_si32(_mm_add_epi32(v, _mm_cvtsi32_si128(start)));
  }
}

}  // namespace

bool machine_has_vnni() {
  return (hwy::SupportedTargets() & HWY_TARGETS & HWY_AVX3) != 0 &&
         __builtin_cpu_supports("avx512vnni") != 0;
}

Int8Kernel vnni_int8_kernel() {
  Int8Kernel kernel = highway_int8_kernel();
  kernel.name = "avx512-vnni int8";
  kernel.int4_name = "avx512-vnni int4 × int8";
  kernel.rows = kInt8MostRows;
  kernel.code_bytes = 1;
  kernel.flip = 128;
  kernel.prepare = &prepare_vnni;
  kernel.start = &start_vnni;
  kernel.load_slice = nullptr;
  kernel.multiply = &multiply_vnni;
  kernel.multiply_row = &multiply_row_vnni;
  kernel.prepare_row = &prepare_row_vnni;
  return kernel;
}

}  // namespace scute

#else

namespace scute {

bool machine_has_vnni() { return false; }
Int8Kernel vnni_int8_kernel() { return highway_int8_kernel(); }

}  // namespace scute
#endif
