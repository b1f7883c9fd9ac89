// What a Mamba model remembers between tokens.
#pragma once

#include <cstdint>
#include <vector>

#include "scute/tensor/mat_view.h"

namespace scute {

/// One layer: the last K−1 inputs of the convolution, and the recurrent state.
struct LayerState {
  std::vector<float> conv_values, ssm_values;
  MatView<float> conv;  ///< (K−1) × conv channels, oldest first
  MatView<float> ssm;   ///< Mamba-1: E × N; Mamba-2: (H·P) × N

  LayerState(int64_t taps, int64_t channels, int64_t rows, int64_t state)
      : conv_values(static_cast<size_t>((taps - 1) * channels)),
        ssm_values(static_cast<size_t>(rows * state)),
        conv(conv_values.data(), taps - 1, channels),
        ssm(ssm_values.data(), rows, state) {}
  // The views point into the vectors' memory, which moving hands over and copying would not.
  LayerState(LayerState&&) = default;
  LayerState& operator=(LayerState&&) = default;
};

struct State {
  std::vector<LayerState> layers;
  int64_t position = 0;  ///< tokens seen so far
};

}  // namespace scute
