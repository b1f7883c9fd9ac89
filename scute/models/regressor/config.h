// The shape of the Mamba regressor: a window of radio features to a position.
#pragma once

#include <cstdint>
#include <string_view>

namespace scute {

/// Everything a checkpoint's tensors follow from, and what its forward pass does with them.
struct RegressorConfig {
  /// slim: a leaky mean with λ = σ(dt_proj u) instead of a state space; origin: Mamba-1's scan.
  enum class Variant { slim, origin };
  /// What the last layer sees: all patches side by side, their mean, or their maximum.
  enum class Pool { flat, average, maximum };

  Variant variant = Variant::slim;
  int64_t features = 0;   ///< Din, numbers in a frame
  int64_t window = 0;     ///< K, frames in a window
  int64_t projected = 0;  ///< C, numbers a frame is projected to
  int64_t width = 0;      ///< D, d_model
  int64_t layers = 0;     ///< n_layer
  int64_t patch = 0;      ///< P, frames in a patch
  int64_t stride = 0;     ///< S, frames from one patch to the next

  bool positions = true;      ///< a sine and cosine table is added to the patches (not pe_off)
  double position_scale = 1;  ///< factor of that table (pe_scale)
  bool gate = true;           ///< y·SiLU(z) (not gate_off)
  Pool pool = Pool::flat;     ///< agg_pool
  bool convolution = false;   ///< slim: over the patches (use_dwconv). origin always has one

  static constexpr int64_t outputs = 2;  ///< x and y in metres
  static constexpr int64_t state = 16;   ///< N; origin
  static constexpr float norm_eps = 1e-5F;

  /// L = ⌊(K − P)/S⌋ + 1; frames that fill no patch are left out.
  int64_t patches() const { return (window - patch) / stride + 1; }
  /// I, twice the width.
  int64_t inner() const { return 2 * width; }
  /// R = ⌈D/16⌉; origin.
  int64_t dt_rank() const { return (width + 15) / 16; }
  /// Of the depth-wise convolution: 5, centred, in slim blocks (the 4 of d_conv made odd); 4,
  /// causal, in origin blocks.
  int64_t taps() const { return variant == Variant::slim ? 5 : 4; }

  bool operator==(const RegressorConfig&) const = default;
  /// Error naming `where` and the first number that makes no sense (below 1, absurdly large, a
  /// patch longer than the window, a scale that is not finite).
  void check(std::string_view where) const;
};

}  // namespace scute
