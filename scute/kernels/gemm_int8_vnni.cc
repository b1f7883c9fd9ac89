// Int8 products by VNNI, of AVX-512 and without it, and by AMX, for which Highway 1.0 has no
// targets of its own.
#include <cstring>

#include "hwy/targets.h"
#include "scute/kernels/amx.h"
#include "scute/kernels/fetch_ahead.h"
#include "scute/kernels/gemm_int8_kernel.h"
#include "scute/kernels/processor.h"

#if HWY_ARCH_X86 && !HWY_COMPILER_MSVC
// GCC 12 takes the vectors that its own header leaves undefined, because all of their lanes are
// written, for variables that nobody set.
#if HWY_COMPILER_GCC_ACTUAL
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif
#include <immintrin.h>

// vpdpbusd adds four products of an unsigned and a signed byte to 32 bits. Unsigned are the
// weights, stored with 128 added; the sums of a row therefore start from −128 · the sum of its
// inputs. All of it is exact modulo 2^32, and the sums themselves fit.
namespace scute {
namespace {

#define SCUTE_AVX512 __attribute__((target("avx512f")))
#define SCUTE_AVX2 __attribute__((target("avx2")))

/// Vectors of 32-bit sums, 2 · kMostRows of which fill most registers.
struct V512 {
  using Vector = __m512i;
  static constexpr int64_t kLanes = 16, kMostRows = 12;
  SCUTE_AVX512 static Vector all(int32_t x) { return _mm512_set1_epi32(x); }
  SCUTE_AVX512 static Vector load(const std::byte* from) { return _mm512_loadu_si512(from); }
  SCUTE_AVX512 static Vector add(Vector a, Vector b) { return _mm512_add_epi32(a, b); }
  SCUTE_AVX512 static void store(Vector v, int32_t* to) { _mm512_storeu_si512(to, v); }
};
struct V256 {
  using Vector = __m256i;
  static constexpr int64_t kLanes = 8, kMostRows = 6;
  SCUTE_AVX2 static Vector all(int32_t x) { return _mm256_set1_epi32(x); }
  SCUTE_AVX2 static Vector load(const std::byte* from) {
    return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from));
  }
  SCUTE_AVX2 static Vector add(Vector a, Vector b) { return _mm256_add_epi32(a, b); }
  SCUTE_AVX2 static void store(Vector v, int32_t* to) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), v);
  }
};

}  // namespace
}  // namespace scute

#define SCUTE_VNNI __attribute__((target("avx2,fma,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")))
#define SCUTE_VNNI_DPBUSD _mm256_dpbusd_epi32
#define SCUTE_VNNI_ENCODING ""
#define SCUTE_VNNI_REGISTER "v"
#define SCUTE_VNNI_SPACE avx512_vnni
#include "scute/kernels/gemm_int8_vnni-inl.h"

namespace scute {
namespace {
namespace avx512_vnni {

/// As code_table() of 256 bits, of all sixteen codes at once.
SCUTE_VNNI inline __m512i whole_code_table(float multiplier) {
  const __m512 codes = _mm512_setr_ps(0, 1, 2, 3, 4, 5, 6, 7, -8, -7, -6, -5, -4, -3, -2, -1);
  const __m512 products = _mm512_mul_ps(codes, _mm512_set1_ps(multiplier));
  const __m128i table = _mm512_cvtsepi32_epi8(_mm512_cvtps_epi32(products));  // halves to even
  return _mm512_broadcast_i32x4(_mm_xor_si128(table, _mm_set1_epi8(-128)));
}

SCUTE_VNNI inline __m512i add_whole_block(const uint8_t* codes, const std::byte* x, __m512i table,
                                          __m512i sum) {
  // The lower half of the lanes takes the lower four bits, the upper half the upper four.
  const __m512i shifts = _mm512_inserti64x4(_mm512_setzero_si512(), _mm256_set1_epi16(4), 1);
  const __m512i both =
      _mm512_broadcast_i64x4(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(codes)));
  const __m512i index = _mm512_and_si512(_mm512_srlv_epi16(both, shifts), _mm512_set1_epi8(15));
  return _mm512_dpbusd_epi32(sum, _mm512_shuffle_epi8(table, index), _mm512_loadu_si512(x));
}

/// multiply_row() with vectors of 512 bits: a block of 64 weights at once.
SCUTE_VNNI void multiply_whole_row(const std::byte* x, int32_t start, const Int4Outputs& weight,
                                   int64_t count, int32_t* sums) {
  const int64_t in_group = weight.blocks / weight.groups;
  const uint8_t* codes = weight.codes;
  const float* multiplier = weight.multipliers;
  for (int64_t o = 0; o < count; ++o) {
    __m512i even = _mm512_setzero_si512(), odd = even;
    const std::byte* in = x;
    for (int64_t g = 0; g < weight.groups; ++g, ++multiplier) {
      const __m512i table = whole_code_table(*multiplier);
      int64_t b = 0;
      for (; b + 2 <= in_group; b += 2, codes += kInt8Block, in += 2 * kInt8Block) {
        fetch_ahead(codes, kInt8Block);
        even = add_whole_block(codes, in, table, even);
        odd = add_whole_block(codes + kInt8Block / 2, in + kInt8Block, table, odd);
      }
      if (b < in_group) {
        even = add_whole_block(codes, in, table, even);
        codes += kInt8Block / 2, in += kInt8Block;
      }
    }
    sums[o] = start + _mm512_reduce_add_epi32(_mm512_add_epi32(even, odd));
  }
}

}  // namespace avx512_vnni
}  // namespace
}  // namespace scute

#undef SCUTE_VNNI
#undef SCUTE_VNNI_DPBUSD
#undef SCUTE_VNNI_ENCODING
#undef SCUTE_VNNI_REGISTER
#undef SCUTE_VNNI_SPACE
#define SCUTE_VNNI __attribute__((target("avx2,fma,avxvnni")))
#define SCUTE_VNNI_DPBUSD _mm256_dpbusd_avx_epi32
#define SCUTE_VNNI_ENCODING "%{vex%} "
#define SCUTE_VNNI_REGISTER "x"
#define SCUTE_VNNI_SPACE avx_vnni
#include "scute/kernels/gemm_int8_vnni-inl.h"

namespace scute {
namespace {

void prepare_vnni(const int8_t* x, int64_t count, int64_t rows, std::byte* to) {
  for (int64_t k = 0; k < count; k += kInt8Quad, to += rows * kInt8Quad) {
    std::memcpy(to, x + k, kInt8Quad);
  }
}
/// What the 128 added to each weight comes to. count: a multiple of 64.
SCUTE_AVX2 int32_t start_vnni(const int8_t* x, int64_t count, bool) {
  // vpsadbw adds up unsigned bytes: 128 is added to each, and taken off the sum.
  const __m256i flip = _mm256_set1_epi8(-128);
  __m256i sums = _mm256_setzero_si256();
  for (int64_t k = 0; k < count; k += 32) {
    const __m256i codes = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(x + k));
    sums = _mm256_add_epi64(sums,
                            _mm256_sad_epu8(_mm256_xor_si256(codes, flip), _mm256_setzero_si256()));
  }
  const __m128i both =
      _mm_add_epi64(_mm256_castsi256_si128(sums), _mm256_extracti128_si256(sums, 1));
  const int64_t sum = _mm_cvtsi128_si64(both) + _mm_extract_epi64(both, 1) - 128 * count;
  return static_cast<int32_t>(-128 * sum);  // of at most 131071 inputs: within 2^31
}
int32_t prepare_row_vnni(const int8_t* x, int64_t count, std::byte* to) {
  std::memcpy(to, x, static_cast<size_t>(count));
  return start_vnni(x, count, true);
}

void prepare_amx(const int8_t* x, int64_t count, int64_t rows, std::byte* to) {
  for (int64_t k = 0; k < count; k += kInt8Block, to += rows * kInt8Block) {
    std::memcpy(to, x + k, kInt8Block);
  }
}
SCUTE_AVX512 void add_starts(const Int8Rows& rows, int32_t* sums) {
  for (int64_t r = 0; r < rows.rows; ++r, sums += kInt8Panel) {
    const __m512i start = _mm512_set1_epi32(rows.start[r]);
    for (int32_t* half : {sums, sums + V512::kLanes}) {
      _mm512_storeu_si512(half, _mm512_add_epi32(_mm512_loadu_si512(half), start));
    }
  }
}
/// Rows of several lie in tiles, the one that is alone as VNNI reads it.
void multiply_amx(const Int8Rows& rows, int32_t* sums) {
  if (rows.alone) return avx512_vnni::multiply<V512>(rows, sums);
  const std::byte* second = rows.rows > kTileRows ? rows.x + kTileBytes : nullptr;
  const int64_t step = second == nullptr ? kTileBytes : 2 * kTileBytes;
  multiply_tiles(TileProducts::int8, {rows.x, second, step},
                 reinterpret_cast<const std::byte*>(rows.w), rows.quads / kTileRows, sums);
  if (rows.start != nullptr) add_starts(rows, sums);
}

struct VnniNames {
  std::string_view int8, int4;
};

/// What all of them have in common.
Int8Kernel vnni_kernel(VnniNames names) {
  Int8Kernel kernel = highway_int8_kernel();
  kernel.name = names.int8;
  kernel.int4_name = names.int4;
  kernel.code_bytes = 1;
  kernel.flip = 128;
  kernel.prepare = &prepare_vnni;
  kernel.start = &start_vnni;
  kernel.load_slice = nullptr;
  kernel.prepare_row = &prepare_row_vnni;
  return kernel;
}

Int8Kernel amx_kernel() {
  Int8Kernel kernel = vnni_kernel({"amx int8", "amx int4 × int8"});
  kernel.rows = 2 * kTileRows;
  kernel.row_unit = kTileRows;
  kernel.side_by_side = kernel.panel_inputs = kInt8Block;
  kernel.prepare = &prepare_amx;
  kernel.tiles = true;
  kernel.multiply = &multiply_amx;
  kernel.multiply_row = &avx512_vnni::multiply_whole_row;
  return kernel;
}

}  // namespace

std::vector<Int8Products> int8_products() {
  const int64_t targets = hwy::SupportedTargets() & HWY_TARGETS;
  std::vector<Int8Products> out;
  if ((targets & HWY_AVX3) != 0 && processor_has(kAvx512Vnni)) {
    if (has_tiles(TileProducts::int8)) out.push_back(Int8Products::amx);
    out.insert(out.end(), {Int8Products::avx512_vnni, Int8Products::avx512_vnni_256});
  } else if ((targets & HWY_AVX2) != 0 && processor_has(kAvxVnni)) {
    out = {Int8Products::avx_vnni};
  }
  out.push_back(Int8Products::highway);
  return out;
}

Int8Kernel int8_kernel(Int8Products products) {
  if (products == Int8Products::highway) return highway_int8_kernel();
  if (products == Int8Products::amx) return amx_kernel();
  if (products == Int8Products::avx_vnni) {
    Int8Kernel kernel = vnni_kernel({"avx-vnni int8", "avx-vnni int4 × int8"});
    kernel.rows = V256::kMostRows;
    kernel.multiply = &avx_vnni::multiply<V256>;
    kernel.multiply_row = &avx_vnni::multiply_row;
    return kernel;
  }
  const bool whole = products == Int8Products::avx512_vnni;
  Int8Kernel kernel = vnni_kernel(
      {whole ? "avx512-vnni int8" : "avx512-vnni int8, 256 bits", "avx512-vnni int4 × int8"});
  kernel.rows = whole ? V512::kMostRows : V256::kMostRows;
  kernel.multiply = whole ? &avx512_vnni::multiply<V512> : &avx512_vnni::multiply<V256>;
  kernel.multiply_row = whole ? &avx512_vnni::multiply_whole_row : &avx512_vnni::multiply_row;
  return kernel;
}

}  // namespace scute

#else

namespace scute {

std::vector<Int8Products> int8_products() { return {Int8Products::highway}; }
Int8Kernel int8_kernel(Int8Products) { return highway_int8_kernel(); }

}  // namespace scute
#endif
