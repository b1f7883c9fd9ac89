// Mamba-1's recurrence: lanes are channels, so that no sum crosses lanes.
#include "scute/kernels/scan.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "scute/kernels/selective_scan.cc"
#include "hwy/foreach_target.h"
// After foreach_target.h.
#include "hwy/cache_control.h"
#include "hwy/highway.h"
#include "scute/kernels/coded_rows-inl.h"
#include "scute/kernels/math-inl.h"

HWY_BEFORE_NAMESPACE();
namespace scute {
namespace HWY_NAMESPACE {
namespace {

using Floats = hn::ScalableTag<float>;

// Tokens and state elements worked on together. A tile of 16 channels then needs
// 3·64·64 + 2·16·64 bytes = 14 KB of stack, which stays in the first cache level.
constexpr int64_t kTokens = 64;
static_assert(kTokens >= kCodedTokens);
constexpr int64_t kStates = 16;

// States kept in registers from token to token: beside them a step needs δ, δ·x, y and five more.
#if HWY_TARGET <= HWY_AVX3
constexpr int64_t kInRegisters = 16;  // of 32
#else
constexpr int64_t kInRegisters = 8;  // of 16
#endif

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

#if HWY_TARGET == HWY_SCALAR
int64_t load_fours(MatView<const float>, float*) { return 0; }
int64_t store_fours(const float*, MatView<float>) { return 0; }
#else
/// Four values from each of the rows 0, 4, 8 … that follow `at`, one block of lanes a row.
template <class D>
HWY_INLINE hn::Vec<D> load_blocks(D d, const float* at, int64_t stride) {
  if constexpr (hn::MaxLanes(d) <= 4) {
    (void)stride;
    return hn::LoadU(d, at);
  } else {
    const hn::Half<D> half;
    constexpr auto kRows = static_cast<int64_t>(hn::MaxLanes(half));
    return hn::Combine(d, load_blocks(half, at + kRows * stride, stride),
                       load_blocks(half, at, stride));
  }
}

template <class D>
HWY_INLINE void store_blocks(D d, hn::Vec<D> v, float* at, int64_t stride) {
  if constexpr (hn::MaxLanes(d) <= 4) {
    (void)stride;
    hn::StoreU(v, d, at);
  } else {
    const hn::Half<D> half;
    constexpr auto kRows = static_cast<int64_t>(hn::MaxLanes(half));
    store_blocks(half, hn::LowerHalf(half, v), at, stride);
    store_blocks(half, hn::UpperHalf(half, v), at + kRows * stride, stride);
  }
}

/// Transposes the 4 × 4 values in each block of lanes.
template <class D>
HWY_INLINE void transpose_blocks(D d, hn::Vec<D> (&v)[4]) {
  const auto low02 = hn::InterleaveLower(d, v[0], v[2]), low13 = hn::InterleaveLower(d, v[1], v[3]);
  const auto up02 = hn::InterleaveUpper(d, v[0], v[2]), up13 = hn::InterleaveUpper(d, v[1], v[3]);
  v[0] = hn::InterleaveLower(d, low02, low13);
  v[1] = hn::InterleaveUpper(d, low02, low13);
  v[2] = hn::InterleaveLower(d, up02, up13);
  v[3] = hn::InterleaveUpper(d, up02, up13);
}

/// load_transposed for a whole tile of channels and as many states as fours hold; their number.
int64_t load_fours(MatView<const float> from, float* to) {
  const Floats d;
  const size_t lanes = hn::Lanes(d);
  if (lanes < 4 || from.rows < static_cast<int64_t>(lanes)) return 0;
  int64_t n = 0;
  for (; n + 4 <= from.cols; n += 4) {
    hn::Vec<Floats> v[4];
    for (int64_t i = 0; i < 4; ++i) v[i] = load_blocks(d, from.row(i) + n, from.stride);
    transpose_blocks(d, v);
    for (int64_t i = 0; i < 4; ++i) hn::Store(v[i], d, to + static_cast<size_t>(n + i) * lanes);
  }
  return n;
}

int64_t store_fours(const float* from, MatView<float> to) {
  const Floats d;
  const size_t lanes = hn::Lanes(d);
  if (lanes < 4 || to.rows < static_cast<int64_t>(lanes)) return 0;
  int64_t n = 0;
  for (; n + 4 <= to.cols; n += 4) {
    hn::Vec<Floats> v[4];
    for (int64_t i = 0; i < 4; ++i) v[i] = hn::Load(d, from + static_cast<size_t>(n + i) * lanes);
    transpose_blocks(d, v);
    for (int64_t i = 0; i < 4; ++i) store_blocks(d, v[i], to.row(i) + n, to.stride);
  }
  return n;
}
#endif

/// to[n·lanes + e] = from[e, n]; lanes without a channel stay zero.
void load_transposed(MatView<const float> from, float* to) {
  const auto lanes = static_cast<int64_t>(hn::Lanes(Floats()));
  const int64_t done = load_fours(from, to);
  for (int64_t e = 0; e < from.rows; ++e) {
    for (int64_t n = done; n < from.cols; ++n) to[n * lanes + e] = from.row(e)[n];
  }
}

void store_transposed(const float* from, MatView<float> to) {
  const auto lanes = static_cast<int64_t>(hn::Lanes(Floats()));
  const int64_t done = store_fours(from, to);
  for (int64_t e = 0; e < to.rows; ++e) {
    for (int64_t n = done; n < to.cols; ++n) to.row(e)[n] = from[n * lanes + e];
  }
}

/// A block of states of the tile's channels, and of A, times log2 e.
void load_states(MatView<const float> state, MatView<const float> A, Tile& tile) {
  constexpr float kLog2E = 1.44269504f;
  const Floats d;
  const size_t lanes = hn::Lanes(d), values = static_cast<size_t>(state.cols) * lanes;
  load_transposed(state, tile.h);
  load_transposed(A, tile.A);
  for (size_t i = 0; i < values; i += lanes) {
    hn::Store(hn::Mul(hn::Load(d, tile.A + i), hn::Set(d, kLog2E)), d, tile.A + i);
  }
}

/// δ, δ·x and the D·x that y starts from. Reads all of x and dt that this tile and chunk need, so
/// that y may be written over either.
void prepare(const SelectiveScan& in, int64_t first_token, int64_t tokens, MatView<const float> y,
             Tile& tile) {
  const Floats d;
  const size_t lanes = hn::Lanes(d);
  const auto bias = load_n(d, in.dt_bias + tile.first, tile.count);
  const auto skip = load_n(d, in.D + tile.first, tile.count);
  // The next tile's part of each row, which no hardware prefetcher finds: rows lie pages apart.
  const int64_t ahead = HWY_MIN(int64_t{16}, in.x.cols - tile.first - 1);
  for (int64_t t = 0; t < tokens; ++t) {
    const float* x_at = in.x.row(first_token + t) + tile.first;
    const float* dt_at = in.dt.row(first_token + t) + tile.first;
    hwy::Prefetch(x_at + ahead);
    hwy::Prefetch(dt_at + ahead);
    hwy::Prefetch(y.row(first_token + t) + tile.first + ahead);
    const auto x = load_n(d, x_at, tile.count), dt = load_n(d, dt_at, tile.count);
    const auto delta = softplus(d, hn::Add(dt, bias));
    const size_t at = static_cast<size_t>(t) * lanes;
    hn::Store(delta, d, tile.delta + at);
    hn::Store(hn::Mul(delta, x), d, tile.delta_x + at);
    hn::Store(hn::Mul(skip, x), d, tile.y + at);
  }
}

/// The recurrence of kCount states from `first` of the tile's block on, over a chunk of tokens;
/// B and C from the block's first state on.
template <int64_t kCount>
HWY_NOINLINE void advance(MatView<const float> B, MatView<const float> C, int64_t first,
                          Tile& tile) {
  const Floats d;
  const size_t lanes = hn::Lanes(d);
  const float* HWY_RESTRICT A = tile.A + static_cast<size_t>(first) * lanes;
  float* HWY_RESTRICT h_at = tile.h + static_cast<size_t>(first) * lanes;
  hn::Vec<Floats> h[kCount];
#pragma GCC unroll 16
  for (size_t n = 0; n < kCount; ++n) h[n] = hn::Load(d, h_at + n * lanes);
  for (int64_t t = 0; t < B.rows; ++t) {
    const float* HWY_RESTRICT b = B.row(t) + first;
    const float* HWY_RESTRICT c = C.row(t) + first;
    const size_t at = static_cast<size_t>(t) * lanes;
    const auto delta = hn::Load(d, tile.delta + at);
    const auto delta_x = hn::Load(d, tile.delta_x + at);
    auto y = hn::Load(d, tile.y + at);
#pragma GCC unroll 16
    for (size_t n = 0; n < kCount; ++n) {
      const auto decay = exp2_decay(d, hn::Mul(delta, hn::Load(d, A + n * lanes)));
      h[n] = hn::MulAdd(decay, h[n], hn::Mul(delta_x, hn::Set(d, b[n])));
      y = hn::MulAdd(h[n], hn::Set(d, c[n]), y);
    }
    hn::Store(y, d, tile.y + at);
  }
#pragma GCC unroll 16
  for (size_t n = 0; n < kCount; ++n) hn::Store(h[n], d, h_at + n * lanes);
}

/// The same for a whole block of states. y is summed in their order, however they are cut.
void advance_all(MatView<const float> B, MatView<const float> C, Tile& tile) {
  int64_t n = 0;
  for (; n + kInRegisters <= B.cols; n += kInRegisters) advance<kInRegisters>(B, C, n, tile);
  for (; n + 4 <= B.cols; n += 4) advance<4>(B, C, n, tile);
  for (; n < B.cols; ++n) advance<1>(B, C, n, tile);
}

/// A chunk of tokens for one tile. state: of its channels.
void scan_tile(const SelectiveScan& in, int64_t first_token, int64_t tokens, MatView<float> state,
               MatView<float> y, Tile& tile) {
  const Floats d;
  const size_t lanes = hn::Lanes(d);
  prepare(in, first_token, tokens, y, tile);
  const auto A = in.A.slice_rows(tile.first, state.rows);
  for (int64_t n = 0; n < state.cols; n += kStates) {
    const int64_t states = HWY_MIN(kStates, state.cols - n);
    const auto block = state.columns(n, states);
    load_states(block, A.columns(n, states), tile);
    const auto B = in.B.columns(n, states).slice_rows(first_token, tokens);
    advance_all(B, in.C.columns(n, states).slice_rows(first_token, tokens), tile);
    store_transposed(tile.h, block);
  }
  for (int64_t t = 0; t < tokens; ++t) {
    const auto row = hn::Load(d, tile.y + static_cast<size_t>(t) * lanes);
    store_n(row, d, y.row(first_token + t) + tile.first, tile.count);
  }
}

/// Chunk by chunk, so that the rows of x, dt and y of one chunk stay in the second cache level
/// while all tiles pass over them: half a cache line of each row belongs to a tile of 8 channels.
template <class Rows>
void scan(const SelectiveScan& in, int64_t first, int64_t count, Rows& rows, MatView<float> y) {
  const auto lanes = static_cast<int64_t>(hn::Lanes(Floats()));
  Tile tile;
  // The last tile may have lanes without a channel: these work on zeros.
  std::memset(tile.A, 0, sizeof tile.A);
  std::memset(tile.h, 0, sizeof tile.h);
  for (int64_t t = 0; t < in.x.rows; t += kTokens) {
    const int64_t tokens = HWY_MIN(kTokens, in.x.rows - t);
    for (int64_t e = first; e < first + count; e += lanes) {
      const int64_t channels = HWY_MIN(lanes, first + count - e);
      tile.first = e;
      tile.count = static_cast<size_t>(channels);
      scan_tile(in, t, tokens, rows.open(e, channels), y, tile);
      rows.close();
    }
  }
}

}  // namespace

void SelectiveScanKernel(const SelectiveScan& in, MatView<float> state, MatView<float> y) {
  FloatRows rows(state);
  scan(in, 0, in.x.cols, rows, y);
}

void CodedSelectiveScanKernel(const SelectiveScan& in, int64_t first, int64_t count,
                              const CodedState& state, MatView<float> y) {
  CodedRows<hn::MaxLanes(Floats())> rows(state);
  scan(in, first, count, rows, y);
}

}  // namespace HWY_NAMESPACE
}  // namespace scute
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace scute {

HWY_EXPORT(SelectiveScanKernel);
HWY_EXPORT(CodedSelectiveScanKernel);

void selective_scan(const SelectiveScan& in, MatView<float> state, MatView<float> y) noexcept {
  HWY_DYNAMIC_DISPATCH(SelectiveScanKernel)(in, state, y);
}

void selective_scan(const SelectiveScan& in, int64_t first, int64_t count, const CodedState& state,
                    MatView<float> y) noexcept {
  HWY_DYNAMIC_DISPATCH(CodedSelectiveScanKernel)(in, first, count, state, y);
}

}  // namespace scute
#endif  // HWY_ONCE
