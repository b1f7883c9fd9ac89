// What an attention layer remembers between tokens.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "scute/kernels/causal_attention.h"
#include "scute/models/run.h"
#include "scute/tensor/tensor.h"

namespace scute {

/// Keys (after factor and RoPE) and values of one layer's tokens, head by head, and the last rows
/// before the convolution over [q; k; v] where there is one. Room for tokens comes in whole tiles
/// of 256 and grows to what is needed or, if that is more, to twice what was there, so that n
/// appends of a token allocate log2(n / 256) times and copy each row once on average.
class KeyValueCache {
 public:
  /// `kept` × `channels`: of the convolution's inputs.
  KeyValueCache(int64_t key_heads, int64_t width, CacheForm form = CacheForm::f32, int64_t kept = 0,
                int64_t channels = 0);
  // The views point into tensors' memory, which copies of them would share.
  KeyValueCache(KeyValueCache&&) = default;
  KeyValueCache& operator=(KeyValueCache&&) = default;

  /// One with memory of its own.
  KeyValueCache copy() const;
  /// Tokens.
  int64_t length() const { return length_; }
  /// k and v: tokens × (key heads · width), those behind the ones that are there.
  void append(const Run& run, MatView<const float> k, MatView<const float> v);
  /// One for each key head, until the next append().
  std::span<const CachedHead> heads() const { return heads_; }
  /// kept × channels, oldest first; zero before the first token.
  MatView<float> conv() { return conv_.mutable_matrix<float>(); }
  /// All it holds, the room for further tokens included.
  int64_t bytes() const;

 private:
  void grow(int64_t capacity);

  CacheForm form_;
  int64_t width_, length_ = 0, capacity_ = 0;
  Tensor keys_, values_;              ///< key heads × elements
  Tensor key_scales_, value_scales_;  ///< key heads × capacity; empty unless int8
  Tensor conv_;
  std::vector<CachedHead> heads_;
};

}  // namespace scute
