// Mamba-1's recurrence: lanes are channels, so that no sum crosses lanes.
#include "scute/kernels/scan.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "scute/kernels/selective_scan.cc"
#include "hwy/foreach_target.h"
// After foreach_target.h.
#include "hwy/highway.h"
#include "scute/kernels/math-inl.h"

HWY_BEFORE_NAMESPACE();
namespace scute {
namespace HWY_NAMESPACE {
namespace {

using Floats = hn::ScalableTag<float>;

// Tokens and state elements worked on together. A tile of 16 channels then needs
// 3·64·64 + 2·16·64 bytes = 14 KB of stack, which stays in the first cache level.
constexpr int64_t kTokens = 64;
constexpr int64_t kStates = 16;

/// One vector of channels: token-wise values of a chunk, and a block of states, transposed.
struct Tile {
  static constexpr size_t kLanes = hn::MaxLanes(Floats());
  int64_t first;  ///< channel
  size_t count;   ///< channels, ≤ lanes
  HWY_ALIGN float delta[kTokens * kLanes];
  HWY_ALIGN float delta_x[kTokens * kLanes];
  HWY_ALIGN float y[kTokens * kLanes];
  HWY_ALIGN float A[kStates * kLanes];  ///< times log2 e, because the decay is a power of two
  HWY_ALIGN float h[kStates * kLanes];
};

/// to[n·lanes + e] = from[first + e, first_state + n]; lanes without a channel stay zero.
void load_transposed(MatView<const float> from, const Tile& tile, int64_t first_state,
                     int64_t states, float factor, float* to) {
  const size_t lanes = hn::Lanes(Floats());
  for (size_t e = 0; e < tile.count; ++e) {
    const float* row = from.row(tile.first + static_cast<int64_t>(e)) + first_state;
    for (int64_t n = 0; n < states; ++n) to[static_cast<size_t>(n) * lanes + e] = row[n] * factor;
  }
}

void store_transposed(const float* from, const Tile& tile, int64_t first_state, int64_t states,
                      MatView<float> to) {
  const size_t lanes = hn::Lanes(Floats());
  for (size_t e = 0; e < tile.count; ++e) {
    float* row = to.row(tile.first + static_cast<int64_t>(e)) + first_state;
    for (int64_t n = 0; n < states; ++n) row[n] = from[static_cast<size_t>(n) * lanes + e];
  }
}

/// δ, δ·x and the D·x that y starts from. Reads all of x and dt that this tile and chunk need, so
/// that y may be written over either.
void prepare(const SelectiveScan& in, int64_t first_token, int64_t tokens, Tile& tile) {
  const Floats d;
  const size_t lanes = hn::Lanes(d);
  const auto bias = load_n(d, in.dt_bias + tile.first, tile.count);
  const auto skip = load_n(d, in.D + tile.first, tile.count);
  for (int64_t t = 0; t < tokens; ++t) {
    const auto x = load_n(d, in.x.row(first_token + t) + tile.first, tile.count);
    const auto dt = load_n(d, in.dt.row(first_token + t) + tile.first, tile.count);
    const auto delta = softplus(d, hn::Add(dt, bias));
    const size_t at = static_cast<size_t>(t) * lanes;
    hn::Store(delta, d, tile.delta + at);
    hn::Store(hn::Mul(delta, x), d, tile.delta_x + at);
    hn::Store(hn::Mul(skip, x), d, tile.y + at);
  }
}

/// The recurrence for one block of states over a chunk of tokens.
void advance(const SelectiveScan& in, int64_t first_token, int64_t tokens, int64_t first_state,
             int64_t states, Tile& tile) {
  const Floats d;
  const size_t lanes = hn::Lanes(d);
  for (int64_t t = 0; t < tokens; ++t) {
    const float* B = in.B.row(first_token + t) + first_state;
    const float* C = in.C.row(first_token + t) + first_state;
    const size_t at = static_cast<size_t>(t) * lanes;
    const auto delta = hn::Load(d, tile.delta + at);
    const auto delta_x = hn::Load(d, tile.delta_x + at);
    auto y = hn::Load(d, tile.y + at);
    for (int64_t n = 0; n < states; ++n) {
      float* h_at = tile.h + static_cast<size_t>(n) * lanes;
      const auto A = hn::Load(d, tile.A + static_cast<size_t>(n) * lanes);
      const auto decay = exp2_decay(d, hn::Mul(delta, A));
      const auto h = hn::MulAdd(decay, hn::Load(d, h_at), hn::Mul(delta_x, hn::Set(d, B[n])));
      hn::Store(h, d, h_at);
      y = hn::MulAdd(h, hn::Set(d, C[n]), y);
    }
    hn::Store(y, d, tile.y + at);
  }
}

/// All tokens for one tile. With at most kStates states they stay in the tile from the first token
/// to the last; with more, a block of them is fetched anew for each chunk of tokens.
void scan_tile(const SelectiveScan& in, MatView<float> state, MatView<float> y, Tile& tile) {
  constexpr float kLog2E = 1.44269504f;
  const Floats d;
  const size_t lanes = hn::Lanes(d);
  const int64_t length = in.x.rows, all_states = state.cols;
  const bool resident = all_states <= kStates;
  for (int64_t t = 0; t < length; t += kTokens) {
    const int64_t tokens = HWY_MIN(kTokens, length - t);
    prepare(in, t, tokens, tile);
    for (int64_t n = 0; n < all_states; n += kStates) {
      const int64_t states = HWY_MIN(kStates, all_states - n);
      if (!resident || t == 0) {
        load_transposed(in.A, tile, n, states, kLog2E, tile.A);
        load_transposed(state, tile, n, states, 1.0f, tile.h);
      }
      advance(in, t, tokens, n, states, tile);
      if (!resident || t + tokens == length) store_transposed(tile.h, tile, n, states, state);
    }
    for (int64_t i = 0; i < tokens; ++i) {
      const auto row = hn::Load(d, tile.y + static_cast<size_t>(i) * lanes);
      store_n(row, d, y.row(t + i) + tile.first, tile.count);
    }
  }
}

void scan(const SelectiveScan& in, MatView<float> state, MatView<float> y) {
  const auto lanes = static_cast<int64_t>(hn::Lanes(Floats()));
  Tile tile;
  // The last tile may have lanes without a channel: these work on zeros.
  std::memset(tile.A, 0, sizeof tile.A);
  std::memset(tile.h, 0, sizeof tile.h);
  for (int64_t e = 0; e < in.x.cols; e += lanes) {
    tile.first = e;
    tile.count = static_cast<size_t>(HWY_MIN(lanes, in.x.cols - e));
    scan_tile(in, state, y, tile);
  }
}

}  // namespace

void SelectiveScanKernel(const SelectiveScan& in, MatView<float> state, MatView<float> y) {
  scan(in, state, y);
}

}  // namespace HWY_NAMESPACE
}  // namespace scute
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace scute {

HWY_EXPORT(SelectiveScanKernel);

void selective_scan(const SelectiveScan& in, MatView<float> state, MatView<float> y) noexcept {
  HWY_DYNAMIC_DISPATCH(SelectiveScanKernel)(in, state, y);
}

}  // namespace scute
#endif  // HWY_ONCE
