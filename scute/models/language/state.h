// What a language model remembers between tokens.
#pragma once

#include <cstdint>
#include <variant>
#include <vector>

#include "scute/kernels/scan.h"
#include "scute/models/grids.h"
#include "scute/models/language/key_value_cache.h"
#include "scute/models/run.h"
#include "scute/models/scheme.h"
#include "scute/tensor/mat_view.h"

namespace scute {

/// Where a call stands: what stochastic rounding is keyed by.
struct Place {
  int64_t sequence = 0;
  int64_t position = 0;  ///< tokens seen before
};

/// One layer: the last K−1 inputs of the convolution, and the recurrent state, as floats or (when
/// the layer has a grid for it) as 8-bit codes.
struct LayerState {
  std::vector<float> conv_values, ssm_values;
  std::vector<int8_t> ssm_code_values;
  MatView<float> conv;        ///< (K−1) × conv channels, oldest first
  MatView<float> ssm;         ///< Mamba-1: E × N; Mamba-2: (H·P) × N; or codes:
  MatView<int8_t> ssm_codes;  ///< the same shape

  enum class Form { floats, codes };
  LayerState(int64_t taps, int64_t channels, int64_t rows, int64_t state, Form form = Form::floats);
  // The views point into the vectors' memory, which moving hands over and copying would not.
  LayerState(LayerState&&) = default;
  LayerState& operator=(LayerState&&) = default;

  LayerState copy() const;
  int64_t bytes() const;
};

/// Of one part of a block; what has no memory has none.
using PartState = std::variant<std::monostate, LayerState, KeyValueCache>;

/// Of one block: the state or cache of each part.
struct BlockState {
  std::vector<PartState> parts;
};

/// Of a whole model after some tokens.
struct State {
  std::vector<BlockState> blocks;
  Place place;
  /// One with memory of its own: both go on from here.
  State copy() const;
  int64_t bytes() const;
};

/// How one layer's recurrent state is rounded between calls.
struct StateGrid {
  SiteScales scales;  ///< empty: not rounded
  Scheme::StateRounding rounding = Scheme::StateRounding::stochastic;
  uint64_t seed = 0;
  int64_t layer = 0;
};

/// Whether a scan of that many tokens may work on the codes themselves: there are some, a scan
/// holds them, and nobody sees or changes the floats at these two sites.
bool scans_codes(const Run& run, const LayerState& state, int64_t tokens, const Site& after,
                 const Site& steps);
/// Operations of a state that is opened and rounded, beside those of the scan.
inline constexpr int64_t kOpenAndRound = 30;
/// What it works on; `place` is that after the call.
CodedState coded_state(const LayerState& state, const StateGrid& grid, const Place& place);

/// The state as floats while a call works on it.
class OpenState {
 public:
  OpenState(Run& run, LayerState& state, const StateGrid& grid);
  MatView<float> values() const { return values_; }
  /// Rounds and stores, if the layer has a grid; `place` is that after the call.
  void close(const Place& place) const;

 private:
  Run& run_;
  LayerState& state_;
  const StateGrid& grid_;
  MatView<float> values_;
};

}  // namespace scute
