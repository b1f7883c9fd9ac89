#include "scute/models/language/state.h"

#include <algorithm>

#include "scute/base/random.h"
#include "scute/kernels/round.h"

namespace scute {
namespace {

/// One key for each (seed, layer, sequence, position): each number is mixed in by one step of the
/// counter-based generator.
uint64_t key_of(const StateGrid& grid, const Place& place) {
  uint64_t key = Random(grid.seed).next();  // else seed 42 of layer 0 were seed 43 of layer 1
  for (const int64_t number : {grid.layer, place.sequence, place.position}) {
    key = Random(key ^ static_cast<uint64_t>(number)).next();
  }
  return key;
}

}  // namespace

LayerState::LayerState(int64_t taps, int64_t channels, int64_t rows, int64_t state, Form form)
    : conv_values(static_cast<size_t>((taps - 1) * channels)),
      conv(conv_values.data(), taps - 1, channels) {
  const auto size = static_cast<size_t>(rows * state);
  if (form == Form::codes) {
    ssm_code_values.resize(size);
    ssm_codes = {ssm_code_values.data(), rows, state};
  } else {
    ssm_values.resize(size);
    ssm = {ssm_values.data(), rows, state};
  }
}

LayerState LayerState::copy() const {
  const bool codes = ssm_codes.data != nullptr;
  LayerState out(conv.rows + 1, conv.cols, codes ? ssm_codes.rows : ssm.rows,
                 codes ? ssm_codes.cols : ssm.cols, codes ? Form::codes : Form::floats);
  std::ranges::copy(conv_values, out.conv_values.begin());
  std::ranges::copy(ssm_values, out.ssm_values.begin());
  std::ranges::copy(ssm_code_values, out.ssm_code_values.begin());
  return out;
}

int64_t LayerState::bytes() const {
  return static_cast<int64_t>((conv_values.size() + ssm_values.size()) * sizeof(float) +
                              ssm_code_values.size());
}

State State::copy() const {
  struct Copy {
    PartState operator()(const std::monostate&) const { return {}; }
    PartState operator()(const LayerState& state) const { return state.copy(); }
    PartState operator()(const KeyValueCache& cache) const { return cache.copy(); }
  };
  State out;
  out.place = place;
  for (const BlockState& block : blocks) {
    BlockState& into = out.blocks.emplace_back();
    for (const PartState& part : block.parts) into.parts.push_back(std::visit(Copy(), part));
  }
  return out;
}

int64_t State::bytes() const {
  struct Bytes {
    int64_t operator()(const std::monostate&) const { return 0; }
    int64_t operator()(const LayerState& state) const { return state.bytes(); }
    int64_t operator()(const KeyValueCache& cache) const { return cache.bytes(); }
  };
  int64_t total = 0;
  for (const BlockState& block : blocks) {
    for (const PartState& part : block.parts) total += std::visit(Bytes(), part);
  }
  return total;
}

bool scans_codes(const Run& run, const LayerState& state, int64_t tokens, const Site& after,
                 const Site& steps) {
  return state.ssm_codes.data != nullptr && state.ssm_codes.cols <= kCodedStates &&
         tokens <= kCodedTokens && !run.touches(after) && !run.touches(steps);
}

CodedState coded_state(const LayerState& state, const StateGrid& grid, const Place& place) {
  CodedState out{state.ssm_codes, grid.scales.view(), {}};
  if (grid.rounding == Scheme::StateRounding::stochastic) out.key = key_of(grid, place);
  return out;
}

OpenState::OpenState(Run& run, LayerState& state, const StateGrid& grid)
    : run_(run), state_(state), grid_(grid), values_(state.ssm) {
  if (state.ssm_codes.data == nullptr) return;
  values_ = run.matrix(state.ssm_codes.rows, state.ssm_codes.cols);
  run.split_rows(values_, [&](int64_t first, int64_t count) {
    from_codes(state.ssm_codes.slice_rows(first, count), grid.scales.rows(first, count),
               values_.slice_rows(first, count));
  });
}

void OpenState::close(const Place& place) const {
  const MatView<int8_t> codes = state_.ssm_codes;
  if (codes.data == nullptr) return;
  const uint64_t key = key_of(grid_, place);
  run_.split_rows(values_, [&](int64_t first, int64_t count) {
    const auto values = values_.slice_rows(first, count);
    const auto scales = grid_.scales.rows(first, count);
    if (grid_.rounding == Scheme::StateRounding::nearest) {
      to_codes(values, scales, codes.slice_rows(first, count));
    } else {
      to_codes_stochastic(values, scales, key, codes.slice_rows(first, count), first);
    }
  });
}

}  // namespace scute
