// Int8 products by VNNI, included once for each encoding of its instruction. Before:
// SCUTE_VNNI, the target of the functions; SCUTE_VNNI_DPBUSD, the instruction on 256 bits;
// SCUTE_VNNI_ENCODING, a prefix of its name; SCUTE_VNNI_REGISTER, the registers it takes;
// SCUTE_VNNI_SPACE, a namespace of their own.
namespace scute {
namespace {
namespace SCUTE_VNNI_SPACE {

/// By name and in its place: GCC 12 otherwise copies and spills the sums.
template <class Vector>
SCUTE_VNNI inline void add_quads(Vector& sum, Vector weights, Vector inputs) {
  asm volatile(SCUTE_VNNI_ENCODING "vpdpbusd %2, %1, %0"
               : "+" SCUTE_VNNI_REGISTER(sum)
               : SCUTE_VNNI_REGISTER(weights), SCUTE_VNNI_REGISTER(inputs));
}

/// R rows by two vectors of outputs, from w and sums on. Sums of four rows and more hide the
/// latency of one another; those of fewer are each kept in several parts.
template <class V, int64_t R>
SCUTE_VNNI void multiply_pair(const Int8Rows& rows, const std::byte* w, int32_t* sums) {
  constexpr int64_t kParts = R == 1 ? 4 : R <= 3 ? 2 : 1;
  const std::byte* x = rows.x;
  typename V::Vector all[R][kParts][2];
#pragma GCC unroll 16
  for (int64_t r = 0; r < R; ++r) {
#pragma GCC unroll 16
    for (int64_t p = 0; p < kParts; ++p) all[r][p][0] = all[r][p][1] = V::all(0);
  }
  for (int64_t q = 0; q < rows.quads; q += kParts) {
#pragma GCC unroll 16
    for (int64_t p = 0; p < kParts; ++p) {
      if (p > 0 && q + p >= rows.quads) break;
      const auto low = V::load(w), high = V::load(w + sizeof(low));
      if constexpr (R == 1) fetch_ahead(w, 2 * sizeof(low));
#pragma GCC unroll 16
      for (int64_t r = 0; r < R; ++r) {
        int32_t quad;
        std::memcpy(&quad, x + r * kInt8Quad, sizeof(quad));
        const auto inputs = V::all(quad);
        add_quads(all[r][p][0], low, inputs);
        add_quads(all[r][p][1], high, inputs);
      }
      w += kInt8Panel * kInt8Quad;
      x += R * kInt8Quad;
    }
  }
#pragma GCC unroll 16
  for (int64_t r = 0; r < R; ++r) {
    const auto start = V::all(rows.start == nullptr ? 0 : rows.start[r]);
#pragma GCC unroll 16
    for (int64_t n = 0; n < 2; ++n) {
      auto sum = start;
#pragma GCC unroll 16
      for (int64_t p = 0; p < kParts; ++p) sum = V::add(sum, all[r][p][n]);
      V::store(sum, sums + r * kInt8Panel + n * V::kLanes);
    }
  }
}

template <class V, int64_t R = V::kMostRows>
void multiply(const Int8Rows& rows, int32_t* sums) {
  if constexpr (R > 1) {
    if (rows.rows < R) return multiply<V, R - 1>(rows, sums);
  }
  for (int64_t o = 0; o < kInt8Panel; o += 2 * V::kLanes) {
    multiply_pair<V, R>(rows, reinterpret_cast<const std::byte*>(rows.w) + o * kInt8Quad, sums + o);
  }
}

/// As code_table() of the other instruction sets, 128 added.
SCUTE_VNNI inline __m256i code_table(float multiplier) {
  const __m256 codes = _mm256_setr_ps(1, 2, 3, 4, 5, 6, 7, 8);
  const __m256 products = _mm256_mul_ps(codes, _mm256_set1_ps(multiplier));
  const __m256i wide = _mm256_cvtps_epi32(products);  // halves to even
  const __m128i whole =
      _mm_packs_epi32(_mm256_castsi256_si128(wide), _mm256_extracti128_si256(wide, 1));
  const __m128i positive = _mm_slli_si128(whole, 2);
  const __m128i reverse = _mm_setr_epi8(14, 15, 12, 13, 10, 11, 8, 9, 6, 7, 4, 5, 2, 3, 0, 1);
  const __m128i negative = _mm_sub_epi16(_mm_setzero_si128(), _mm_shuffle_epi8(whole, reverse));
  const __m128i table = _mm_packs_epi16(positive, negative);
  return _mm256_broadcastsi128_si256(_mm_xor_si128(table, _mm_set1_epi8(-128)));
}

struct RowSums {
  __m256i low, high;
};

SCUTE_VNNI inline void add_block(const uint8_t* codes, const std::byte* x, __m256i table,
                                 RowSums& sums) {
  const __m256i mask = _mm256_set1_epi8(15);
  const auto* in = reinterpret_cast<const __m256i*>(x);
  const __m256i both = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(codes));
  const __m256i low = _mm256_shuffle_epi8(table, _mm256_and_si256(both, mask));
  const __m256i upper = _mm256_and_si256(_mm256_srli_epi16(both, 4), mask);
  const __m256i high = _mm256_shuffle_epi8(table, upper);
  sums.low = SCUTE_VNNI_DPBUSD(sums.low, low, _mm256_loadu_si256(in));
  sums.high = SCUTE_VNNI_DPBUSD(sums.high, high, _mm256_loadu_si256(in + 1));
}

SCUTE_VNNI void multiply_row(const std::byte* x, int32_t start, const Int4Outputs& weight,
                             int64_t count, int32_t* sums) {
  const int64_t in_group = weight.blocks / weight.groups;
  const uint8_t* codes = weight.codes;
  const float* multiplier = weight.multipliers;
  for (int64_t o = 0; o < count; ++o) {
    const __m256i zero = _mm256_setzero_si256();
    RowSums even{zero, zero}, odd{zero, zero};
    const std::byte* in = x;
    for (int64_t g = 0; g < weight.groups; ++g, ++multiplier) {
      const __m256i table = code_table(*multiplier);
      int64_t b = 0;
      for (; b + 2 <= in_group; b += 2, codes += 64, in += 128) {
        fetch_ahead(codes, 64);
        add_block(codes, in, table, even);
        add_block(codes + 32, in + 64, table, odd);
      }
      if (b < in_group) {
        add_block(codes, in, table, even);
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

}  // namespace SCUTE_VNNI_SPACE
}  // namespace
}  // namespace scute
