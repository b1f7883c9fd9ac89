// The shape of a Mamba language model.
#pragma once

#include <cstdint>
#include <limits>
#include <string_view>

namespace scute {

enum class MixerKind { mamba1, mamba2 };

/// Everything a checkpoint's tensors follow from. Both config.json dialects are read into this by
/// the recipe layer.
struct MambaConfig {
  MixerKind mixer = MixerKind::mamba1;
  int64_t layers = 0;      ///< n_layer
  int64_t width = 0;       ///< D, d_model
  int64_t vocabulary = 0;  ///< V, rows of the embedding, padding included
  int64_t inner = 0;       ///< E, d_inner
  int64_t state = 16;      ///< N, d_state
  int64_t taps = 4;        ///< K, d_conv
  bool conv_bias = true;
  bool tied_head = true;  ///< lm_head is the embedding table
  float norm_eps = 1e-5F;

  int64_t dt_rank = 0;  ///< R; Mamba-1 only

  int64_t heads = 0;           ///< H; Mamba-2 only, as the rest
  int64_t head_width = 64;     ///< P
  int64_t groups = 1;          ///< G
  bool D_per_channel = false;  ///< D has H·P elements instead of H
  float dt_min = 0, dt_max = std::numeric_limits<float>::infinity();

  /// Columns of in_proj's output, channels of the convolution.
  int64_t projected() const;
  int64_t conv_channels() const;
  /// Error naming `where` and the first number that makes no sense (below 1, absurdly large, or not
  /// dividing what it must divide).
  void check(std::string_view where) const;
  bool operator==(const MambaConfig&) const = default;
};

}  // namespace scute
