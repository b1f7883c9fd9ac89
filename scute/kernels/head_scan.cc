// Mamba-2's recurrence: lanes are states, kept in registers from token to token.
#include "scute/kernels/scan.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "scute/kernels/head_scan.cc"
#include "hwy/foreach_target.h"
// After foreach_target.h.
#include "hwy/highway.h"
#include "scute/kernels/math-inl.h"

HWY_BEFORE_NAMESPACE();
namespace scute {
namespace HWY_NAMESPACE {
namespace {

using Floats = hn::ScalableTag<float>;

// Tokens worked on together. B and C of 16 tokens and 128 states are 16 KB: they stay in the first
// cache level while all rows of the head's state pass over them.
constexpr int64_t kTokens = 16;

/// What one head needs of a chunk of tokens, and the dot products of one row of its state.
struct Chunk {
  static constexpr size_t kLanes = hn::MaxLanes(Floats());
  int64_t first, tokens;
  MatView<const float> B, C;  ///< tokens × states
  HWY_ALIGN float delta[kTokens > kLanes ? kTokens : kLanes];
  HWY_ALIGN float decay[kTokens > kLanes ? kTokens : kLanes];
  float delta_x[kTokens];
  HWY_ALIGN float y[kTokens * kLanes];  ///< before the sum over lanes
};

/// δ and exp(δ·A) of one head.
void prepare(const HeadScan& in, int64_t head, Chunk& chunk) {
  const Floats d;
  const size_t lanes = hn::Lanes(d);
  const auto A = hn::Set(d, in.A[head]), bias = hn::Set(d, in.dt_bias[head]);
  const auto least = hn::Set(d, in.dt_min), most = hn::Set(d, in.dt_max);
  std::memset(chunk.delta, 0, sizeof chunk.delta);
  for (int64_t t = 0; t < chunk.tokens; ++t) chunk.delta[t] = in.dt.row(chunk.first + t)[head];
  for (size_t t = 0; t < static_cast<size_t>(chunk.tokens); t += lanes) {
    auto delta = softplus(d, hn::Add(hn::Load(d, chunk.delta + t), bias));
    delta = hn::IfThenElse(hn::Lt(delta, least), least, delta);  // these two keep a NaN
    delta = hn::IfThenElse(hn::Gt(delta, most), most, delta);
    hn::Store(delta, d, chunk.delta + t);
    hn::Store(exp_any(d, hn::Mul(delta, A)), d, chunk.decay + t);
  }
}

/// The recurrence of kVectors vectors of states, from `first` on, over the chunk.
template <size_t kVectors>
HWY_INLINE void advance(Chunk& chunk, size_t first, float* state) {
  const Floats d;
  const size_t lanes = hn::Lanes(d);
  hn::Vec<Floats> h[kVectors];
#pragma GCC unroll 8
  for (size_t i = 0; i < kVectors; ++i) h[i] = hn::LoadU(d, state + first + i * lanes);
  for (int64_t t = 0; t < chunk.tokens; ++t) {
    const float* B = chunk.B.row(t) + first;
    const float* C = chunk.C.row(t) + first;
    const auto decay = hn::Set(d, chunk.decay[t]), delta_x = hn::Set(d, chunk.delta_x[t]);
    float* y_at = chunk.y + static_cast<size_t>(t) * lanes;
    auto y = hn::Load(d, y_at);
#pragma GCC unroll 8
    for (size_t i = 0; i < kVectors; ++i) {
      const auto fed = hn::Mul(delta_x, hn::LoadU(d, B + i * lanes));
      h[i] = hn::MulAdd(decay, h[i], fed);
      y = hn::MulAdd(h[i], hn::LoadU(d, C + i * lanes), y);
    }
    hn::Store(y, d, y_at);
  }
#pragma GCC unroll 8
  for (size_t i = 0; i < kVectors; ++i) hn::StoreU(h[i], d, state + first + i * lanes);
}

/// The same for the last `count` < lanes states.
void advance_rest(Chunk& chunk, size_t first, size_t count, float* state) {
  const Floats d;
  const size_t lanes = hn::Lanes(d);
  auto h = load_n(d, state + first, count);
  for (int64_t t = 0; t < chunk.tokens; ++t) {
    const auto B = load_n(d, chunk.B.row(t) + first, count);
    const auto C = load_n(d, chunk.C.row(t) + first, count);
    float* y_at = chunk.y + static_cast<size_t>(t) * lanes;
    const auto fed = hn::Mul(hn::Set(d, chunk.delta_x[t]), B);
    h = hn::MulAdd(hn::Set(d, chunk.decay[t]), h, fed);
    hn::Store(hn::MulAdd(h, C, hn::Load(d, y_at)), d, y_at);
  }
  store_n(h, d, state + first, count);
}

/// One row of the state of one head. Each lane sums its states in ascending order, then the lanes
/// are summed, so that neither the chunks nor the blocks of vectors change a result.
void scan_row(Chunk& chunk, size_t states, float* state) {
  const size_t lanes = hn::Lanes(Floats());
  const auto tokens = static_cast<size_t>((chunk.tokens + 3) / 4 * 4);  // as sum_lanes reads
  std::memset(chunk.y, 0, tokens * lanes * sizeof(float));
  size_t n = 0;
  for (; n + 8 * lanes <= states; n += 8 * lanes) advance<8>(chunk, n, state);
  for (; n + 4 * lanes <= states; n += 4 * lanes) advance<4>(chunk, n, state);
  for (; n + lanes <= states; n += lanes) advance<1>(chunk, n, state);
  if (n < states) advance_rest(chunk, n, states - n, state);
}

#if HWY_TARGET == HWY_SCALAR
void sum_lanes(Chunk& chunk, float* sums) {
  for (int64_t t = 0; t < chunk.tokens; ++t) sums[t] = chunk.y[t];
}
#else
/// The sum of the 4-lane blocks of v.
template <class D>
HWY_INLINE hn::Vec<hn::FixedTag<float, 4> > sum_blocks(D d, hn::Vec<D> v) {
  if constexpr (hn::MaxLanes(d) <= 4) {
    return v;
  } else {
    const hn::Half<D> half;
    return sum_blocks(half, hn::Add(hn::LowerHalf(half, v), hn::UpperHalf(half, v)));
  }
}

/// sums[t] = the sum of the lanes of token t's vector, four tokens at a time by transposing: one
/// SumOfLanes each would take as long as half the recurrence.
void sum_lanes(Chunk& chunk, float* sums) {
  const Floats d;
  const hn::Repartition<double, Floats> pairs;
  const size_t lanes = hn::Lanes(d);
  for (size_t t = 0; t < static_cast<size_t>(chunk.tokens); t += 4) {
    const float* at = chunk.y + t * lanes;
    const auto a = hn::Load(d, at), b = hn::Load(d, at + lanes);
    const auto c = hn::Load(d, at + 2 * lanes), e = hn::Load(d, at + 3 * lanes);
    const auto ab = hn::Add(hn::InterleaveLower(d, a, b), hn::InterleaveUpper(d, a, b));
    const auto ce = hn::Add(hn::InterleaveLower(d, c, e), hn::InterleaveUpper(d, c, e));
    const auto ab_pairs = hn::BitCast(pairs, ab), ce_pairs = hn::BitCast(pairs, ce);
    const auto low = hn::BitCast(d, hn::InterleaveLower(pairs, ab_pairs, ce_pairs));
    const auto high = hn::BitCast(d, hn::InterleaveUpper(pairs, ab_pairs, ce_pairs));
    hn::Store(sum_blocks(d, hn::Add(low, high)), hn::FixedTag<float, 4>(), sums + t);
  }
}
#endif

void scan_chunk(const HeadScan& in, int64_t head, MatView<float> state, MatView<float> y,
                Chunk& chunk) {
  HWY_ALIGN float sums[kTokens];
  prepare(in, head, chunk);
  for (int64_t p = head * in.head_width; p < (head + 1) * in.head_width; ++p) {
    for (int64_t t = 0; t < chunk.tokens; ++t) {
      chunk.delta_x[t] = chunk.delta[t] * in.x.row(chunk.first + t)[p];
    }
    scan_row(chunk, static_cast<size_t>(in.state_size), state.row(p));
    sum_lanes(chunk, sums);
    const float skip = in.D[in.D_per_channel ? p : head];
    for (int64_t t = 0; t < chunk.tokens; ++t) {
      const float x = in.x.row(chunk.first + t)[p];  // read before y, which may be x's memory
      y.row(chunk.first + t)[p] = sums[t] + skip * x;
    }
  }
}

}  // namespace

void HeadScanKernel(const HeadScan& in, MatView<float> state, MatView<float> y) {
  Chunk chunk;
  for (int64_t head = 0; head < in.heads; ++head) {
    const int64_t group = head / (in.heads / in.groups), N = in.state_size;
    for (int64_t t = 0; t < in.x.rows; t += kTokens) {
      chunk.first = t;
      chunk.tokens = HWY_MIN(kTokens, in.x.rows - t);
      chunk.B = in.B.columns(group * N, N).slice_rows(t, chunk.tokens);
      chunk.C = in.C.columns(group * N, N).slice_rows(t, chunk.tokens);
      scan_chunk(in, head, state, y, chunk);
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace scute
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace scute {

HWY_EXPORT(HeadScanKernel);

void head_scan(const HeadScan& in, MatView<float> state, MatView<float> y) noexcept {
  HWY_DYNAMIC_DISPATCH(HeadScanKernel)(in, state, y);
}

}  // namespace scute
#endif  // HWY_ONCE
