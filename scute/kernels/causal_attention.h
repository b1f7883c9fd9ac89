// Attention of a language model's tokens: rotary positions, cached keys and values, and the causal
// softmax over them.
#pragma once

#include <cstdint>

#include "scute/tensor/mat_view.h"

namespace scute {

// Rotary position embedding: pair i of a head's first `rotated` dimensions, elements i and
// i + rotated/2, turns by position · theta^(−2i/rotated); the other dimensions stay.

/// frequencies[i] = theta^(−2i/rotated), i < rotated/2. rotated even.
void rope_frequencies(double theta, int64_t rotated, double* frequencies) noexcept;
/// Row r of `table`: the cosines of all pairs' angles at position + r, then their sines. table:
/// tokens × (2 · pairs). An angle is formed in double: with the frequency f = theta^−e off by
/// (1 + e·ln theta) · 2^−53 of itself, where f·e·ln theta = f·ln(1/f) ≤ 0.37, and the product's
/// rounding, it is off by position · 2.4 · 2^−53: 2.7e-10 at position 10^6, 1/110 of the half unit
/// of a float near 1.
void rope_table(const double* frequencies, int64_t position, MatView<float> table) noexcept;
/// Turns each row of x, heads of `head_width` side by side, by the same row of the table.
void rope(MatView<float> x, int64_t head_width, MatView<const float> table) noexcept;

/// How a key or value is kept. int8: code · scale, a scale for each head and token, max |x| / 127;
/// codes −127 … 127, round(x / scale) half to even. A row below 127 · 2^−126 becomes 0; one that
/// holds NaN or infinity becomes NaN.
enum class CacheForm { f32, bf16, int8 };

/// Keys over which one step of the softmax goes: [0, 256), [256, 512), … of a sequence.
inline constexpr int64_t kCacheTile = 256;

/// Keys and values of one key head, packed for the products; owns nothing.
struct CachedHead {
  CacheForm form = CacheForm::f32;
  int64_t width = 0;              ///< of a head
  void* keys = nullptr;           ///< capacity · width floats, bf16 bits or codes; 64-byte aligned
  void* values = nullptr;         ///< cached_values(capacity, width) of them; the same
  float* key_scales = nullptr;    ///< int8: `capacity` of them; else null
  float* value_scales = nullptr;  ///< the same
};
/// Elements of the values of `capacity` keys, a multiple of kCacheTile. Keys and values number
/// 0 … n − 1 take what those of the capacity n (rounded up to a multiple) would.
int64_t cached_values(int64_t capacity, int64_t width) noexcept;
/// Writes keys and values number first, first + 1, … k and v: rows × width.
void cache_rows(const CachedHead& head, int64_t first, MatView<const float> k,
                MatView<const float> v) noexcept;

/// softmax(q·kᵀ · scale) · v of some tokens, each over its own key and those before it. Query head
/// j reads key head ⌊j / (heads / key_heads)⌋.
struct CausalAttention {
  MatView<const float> q;             ///< tokens × (heads · width)
  int64_t position = 0;               ///< of the first token: keys before its own
  int64_t heads = 0, key_heads = 0;   ///< key_heads divides heads
  const CachedHead* cache = nullptr;  ///< key_heads of them, each with position + q.rows keys
  float scale = 1;
  MatView<float> y;  ///< as q, and may be q
};
/// Parts into which the work falls: any may be done at any time, on any thread.
int64_t causal_attention_parts(const CausalAttention& in) noexcept;
/// Floats of scratch memory of one part at a time: at most 48 · (2 · width + 304) + 48, the same on
/// every machine.
int64_t causal_attention_scratch(int64_t width) noexcept;
/// Does part number `part`. scratch may have any alignment.
///
/// In f32: sums over the width in order, and over the keys in order, tile by tile; a tile in which
/// a row's largest score grows scales what came before. Weights below 2^−126 of the largest so far
/// are 0; the sum of weights (in double) divides at the end. The bits of a row of y depend on that
/// row of q, its position, and the keys and values up to it alone. NaN in a row of q makes that row
/// of y NaN; so does a score of +∞, and a score of NaN.
void causal_attention(const CausalAttention& in, int64_t part, float* scratch) noexcept;

}  // namespace scute
