// Mamba-2's recurrence: lanes are states, kept in registers from token to token.
#include "scute/kernels/scan.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "scute/kernels/head_scan.cc"
#include "hwy/foreach_target.h"
// After foreach_target.h.
#include "hwy/highway.h"
#include "scute/kernels/coded_rows-inl.h"
#include "scute/kernels/math-inl.h"

HWY_BEFORE_NAMESPACE();
namespace scute {
namespace HWY_NAMESPACE {
namespace {

using Floats = hn::ScalableTag<float>;

// Tokens worked on together: 32 rather than 16, because the loop over them ends in a misprediction
// (4 % on Zen 4). B and C of 32 tokens and 128 states are 32 KB, and are read once for four rows.
constexpr int64_t kTokens = kCodedTokens;

// Rows of a head's state worked on together: one transposition sums the lanes of four, and their x
// and y lie side by side.
constexpr int64_t kRows = 4;

// Rows and vectors of states advanced together: each vector of B and C is loaded once for all rows,
// and each y is a chain of only four multiply-adds. With 16 registers some states live in memory,
// yet 2 rows, which all fit, take 1.25 times as long.
constexpr int64_t kRowsHeld = kRows, kVectorsHeld = 4;

/// What one head needs of a chunk of tokens, and the dot products of kRows rows of its state.
struct Chunk {
  static constexpr size_t kLanes = hn::MaxLanes(Floats());
  int64_t first, tokens;
  MatView<const float> B, C;  ///< tokens × states
  HWY_ALIGN float delta[kTokens > kLanes ? kTokens : kLanes];
  HWY_ALIGN float decay[kTokens > kLanes ? kTokens : kLanes];
  HWY_ALIGN float delta_x[kTokens * kRows];
  HWY_ALIGN float y[kTokens * kRows * kLanes];  ///< before the sum over lanes
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

/// The recurrence of kVectors vectors of states, from `first` on, of rows [row, row + kCount) of a
/// block of rows whose states begin at `state`. kFresh: they are the first of a row, and start y.
template <int64_t kCount, size_t kVectors, bool kFresh>
HWY_INLINE void advance(Chunk& chunk, int64_t row, size_t first, MatView<float> state) {
  const Floats d;
  const size_t lanes = hn::Lanes(d);
  hn::Vec<Floats> h[kCount][kVectors];
#pragma GCC unroll 4
  for (int64_t r = 0; r < kCount; ++r) {
#pragma GCC unroll 4
    for (size_t i = 0; i < kVectors; ++i) {
      h[r][i] = hn::LoadU(d, state.row(row + r) + first + i * lanes);
    }
  }
  const float* HWY_RESTRICT B = chunk.B.data + first;
  const float* HWY_RESTRICT C = chunk.C.data + first;
  const float* HWY_RESTRICT fed_at = chunk.delta_x + row;
  float* HWY_RESTRICT y_at = chunk.y + static_cast<size_t>(row) * lanes;
  const int64_t tokens = chunk.tokens, B_stride = chunk.B.stride, C_stride = chunk.C.stride;
  for (int64_t t = 0; t < tokens; ++t) {
    const auto decay = hn::Set(d, chunk.decay[t]);
    hn::Vec<Floats> y[kCount], delta_x[kCount];
#pragma GCC unroll 4
    for (int64_t r = 0; r < kCount; ++r) {
      y[r] = kFresh ? hn::Zero(d) : hn::Load(d, y_at + static_cast<size_t>(r) * lanes);
      delta_x[r] = hn::Set(d, fed_at[r]);
    }
#pragma GCC unroll 4
    for (size_t i = 0; i < kVectors; ++i) {
      const auto b = hn::LoadU(d, B + i * lanes), c = hn::LoadU(d, C + i * lanes);
#pragma GCC unroll 4
      for (int64_t r = 0; r < kCount; ++r) {
        h[r][i] = hn::MulAdd(decay, h[r][i], hn::Mul(delta_x[r], b));
        y[r] = hn::MulAdd(h[r][i], c, y[r]);
      }
    }
#pragma GCC unroll 4
    for (int64_t r = 0; r < kCount; ++r) hn::Store(y[r], d, y_at + static_cast<size_t>(r) * lanes);
    B += B_stride;
    C += C_stride;
    fed_at += kRows;
    y_at += static_cast<size_t>(kRows) * lanes;
  }
#pragma GCC unroll 4
  for (int64_t r = 0; r < kCount; ++r) {
#pragma GCC unroll 4
    for (size_t i = 0; i < kVectors; ++i) {
      hn::StoreU(h[r][i], d, state.row(row + r) + first + i * lanes);
    }
  }
}

/// The same for the last `count` < lanes states of one row.
void advance_rest(Chunk& chunk, int64_t row, size_t first, size_t count, MatView<float> state) {
  const Floats d;
  const size_t lanes = hn::Lanes(d);
  auto h = load_n(d, state.row(row) + first, count);
  for (int64_t t = 0; t < chunk.tokens; ++t) {
    const auto B = load_n(d, chunk.B.row(t) + first, count);
    const auto C = load_n(d, chunk.C.row(t) + first, count);
    float* y_at = chunk.y + static_cast<size_t>(t * kRows + row) * lanes;
    const auto fed = hn::Mul(hn::Set(d, chunk.delta_x[t * kRows + row]), B);
    h = hn::MulAdd(hn::Set(d, chunk.decay[t]), h, fed);
    hn::Store(hn::MulAdd(h, C, first == 0 ? hn::Zero(d) : hn::Load(d, y_at)), d, y_at);
  }
  store_n(h, d, state.row(row) + first, count);
}

/// kCount rows of the state of one head. Each lane sums its states in ascending order, then the
/// lanes are summed, so that neither the chunks nor the blocks of rows and vectors change a result.
template <int64_t kCount>
void scan_rows(Chunk& chunk, int64_t row, size_t states, MatView<float> state) {
  const size_t lanes = hn::Lanes(Floats());
  constexpr auto kVectors = static_cast<size_t>(kVectorsHeld);
  size_t n = 0;
  if (kVectors * lanes <= states) {
    advance<kCount, kVectors, true>(chunk, row, 0, state);
    n = kVectors * lanes;
  } else if (lanes <= states) {
    advance<kCount, 1, true>(chunk, row, 0, state);
    n = lanes;
  }
  for (; n + kVectors * lanes <= states; n += kVectors * lanes) {
    advance<kCount, kVectors, false>(chunk, row, n, state);
  }
  for (; n + lanes <= states; n += lanes) advance<kCount, 1, false>(chunk, row, n, state);
  if (n == states) return;
  for (int64_t r = row; r < row + kCount; ++r) advance_rest(chunk, r, n, states - n, state);
}

#if HWY_TARGET == HWY_SCALAR
void sum_lanes(const float* from, float* sums) { std::memcpy(sums, from, kRows * sizeof(float)); }
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

/// sums[r] = the sum of the lanes of vector r of four, by transposing: one SumOfLanes each would
/// take as long as half the recurrence.
HWY_INLINE void sum_lanes(const float* from, float* sums) {
  const Floats d;
  const hn::Repartition<double, Floats> pairs;
  const size_t lanes = hn::Lanes(d);
  const auto a = hn::Load(d, from), b = hn::Load(d, from + lanes);
  const auto c = hn::Load(d, from + 2 * lanes), e = hn::Load(d, from + 3 * lanes);
  const auto ab = hn::Add(hn::InterleaveLower(d, a, b), hn::InterleaveUpper(d, a, b));
  const auto ce = hn::Add(hn::InterleaveLower(d, c, e), hn::InterleaveUpper(d, c, e));
  const auto ab_pairs = hn::BitCast(pairs, ab), ce_pairs = hn::BitCast(pairs, ce);
  const auto low = hn::BitCast(d, hn::InterleaveLower(pairs, ab_pairs, ce_pairs));
  const auto high = hn::BitCast(d, hn::InterleaveUpper(pairs, ab_pairs, ce_pairs));
  hn::Store(sum_blocks(d, hn::Add(low, high)), hn::FixedTag<float, 4>(), sums);
}
#endif

/// y of a block of at most kRows rows, those of channel p on, from the sums over states in chunk.y.
void finish_block(const HeadScan& in, int64_t p, int64_t count, const float* D, MatView<float> y,
                  const Chunk& chunk) {
  const size_t lanes = hn::Lanes(Floats());
  for (int64_t t = 0; t < chunk.tokens; ++t) {
    HWY_ALIGN float sums[kRows];
    sum_lanes(chunk.y + static_cast<size_t>(t * kRows) * lanes, sums);
    const float* x = in.x.row(chunk.first + t) + p;  // may be y's memory
    float* out = y.row(chunk.first + t) + p;
    for (int64_t r = 0; r < count; ++r) out[r] = sums[r] + D[r] * x[r];
  }
}

/// The recurrence of a block of `rows`.
void scan_block(Chunk& chunk, MatView<float> rows) {
  // Rows that are not there are summed too.
  if (rows.rows < kRows || rows.cols == 0) std::memset(chunk.y, 0, sizeof chunk.y);
  const auto states = static_cast<size_t>(rows.cols);
  int64_t row = 0;
  for (; row + kRowsHeld <= rows.rows; row += kRowsHeld) {
    scan_rows<kRowsHeld>(chunk, row, states, rows);
  }
  for (; row < rows.rows; ++row) scan_rows<1>(chunk, row, states, rows);
}

/// scan_block of one token and kRows rows of codes from channel p on: each vector is opened,
/// advanced and rounded without leaving the registers, in two thirds of the time.
template <bool kScaleAStates>
void step_codes(Chunk& chunk, int64_t p, CodedRows<kRows>& rows) {
  const Floats d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  const CodedState& state = rows.state();
  const auto decay = hn::Set(d, chunk.decay[0]);
  hn::Vec<Floats> y[kRows], delta_x[kRows], scale[kRows];
  const float* scales[kRows];
#pragma GCC unroll 4
  for (int64_t r = 0; r < kRows; ++r) {
    y[r] = hn::Zero(d);
    delta_x[r] = hn::Set(d, chunk.delta_x[r]);
    scales[r] = state.scales.row(state.scales.rows == 1 ? 0 : p + r);
    scale[r] = hn::Set(d, scales[r][0]);
  }
  int8_t* const codes = state.codes.row(p);
  const int64_t stride = state.codes.stride, states = state.codes.cols;
  rounding::UniformBits uniform = rows.uniform();
  for (int64_t n = 0; n < states; n += lanes) {
    const auto b = hn::LoadU(d, chunk.B.data + n), c = hn::LoadU(d, chunk.C.data + n);
#pragma GCC unroll 4
    for (int64_t r = 0; r < kRows; ++r) {
      if constexpr (kScaleAStates) scale[r] = hn::LoadU(d, scales[r] + n);
      int8_t* at = codes + r * stride + n;
      const auto count = static_cast<size_t>(lanes);
      auto h = rounding::opened(at, count, scale[r]);
      h = hn::MulAdd(decay, h, hn::Mul(delta_x[r], b));
      y[r] = hn::MulAdd(h, c, y[r]);
      const auto number = static_cast<uint32_t>(static_cast<uint64_t>((p + r) * states + n));
      rounding::store_codes(rounding::stochastic_code(h, scale[r], uniform.of(number)), at, count);
    }
  }
  rows.uniform() = uniform;
#pragma GCC unroll 4
  for (int64_t r = 0; r < kRows; ++r) {
    hn::Store(y[r], d, chunk.y + static_cast<size_t>(r * lanes));
  }
}

void scan_opened(Chunk& chunk, int64_t p, int64_t count, FloatRows& rows) {
  scan_block(chunk, rows.open(p, count));
}
void scan_opened(Chunk& chunk, int64_t p, int64_t count, CodedRows<kRows>& rows) {
  const CodedState& state = rows.state();
  const auto lanes = static_cast<int64_t>(hn::Lanes(Floats()));
  const bool whole = count == kRows && state.codes.cols % lanes == 0;
  if (chunk.tokens > 1 || !whole || !state.key) {
    scan_block(chunk, rows.open(p, count));
    return rows.close();
  }
  state.scales.cols == 1 ? step_codes<false>(chunk, p, rows) : step_codes<true>(chunk, p, rows);
}

template <class Rows>
void scan_chunk(const HeadScan& in, int64_t head, Rows& rows, MatView<float> y, Chunk& chunk) {
  prepare(in, head, chunk);
  const int64_t first = head * in.head_width;
  for (int64_t p = first; p < first + in.head_width; p += kRows) {
    const int64_t count = HWY_MIN(kRows, first + in.head_width - p);
    float D[kRows];
    for (int64_t r = 0; r < count; ++r) D[r] = in.D[in.D_per_channel ? p + r : head];
    for (int64_t t = 0; t < chunk.tokens; ++t) {
      const float* x = in.x.row(chunk.first + t) + p;
      for (int64_t r = 0; r < count; ++r) chunk.delta_x[t * kRows + r] = chunk.delta[t] * x[r];
    }
    scan_opened(chunk, p, count, rows);
    finish_block(in, p, count, D, y, chunk);
  }
}

template <class Rows>
void scan_heads(const HeadScan& in, int64_t first, int64_t count, Rows& rows, MatView<float> y) {
  Chunk chunk;
  for (int64_t head = first; head < first + count; ++head) {
    const int64_t group = head / (in.heads / in.groups), N = in.state_size;
    for (int64_t t = 0; t < in.x.rows; t += kTokens) {
      chunk.first = t;
      chunk.tokens = HWY_MIN(kTokens, in.x.rows - t);
      chunk.B = in.B.columns(group * N, N).slice_rows(t, chunk.tokens);
      chunk.C = in.C.columns(group * N, N).slice_rows(t, chunk.tokens);
      scan_chunk(in, head, rows, y, chunk);
    }
  }
}

}  // namespace

void HeadScanKernel(const HeadScan& in, int64_t first, int64_t count, MatView<float> state,
                    MatView<float> y) {
  FloatRows rows(state);
  scan_heads(in, first, count, rows, y);
}

void CodedHeadScanKernel(const HeadScan& in, int64_t first, int64_t count, const CodedState& state,
                         MatView<float> y) {
  CodedRows<kRows> rows(state);
  scan_heads(in, first, count, rows, y);
}

}  // namespace HWY_NAMESPACE
}  // namespace scute
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace scute {

HWY_EXPORT(HeadScanKernel);
HWY_EXPORT(CodedHeadScanKernel);

void head_scan(const HeadScan& in, MatView<float> state, MatView<float> y) noexcept {
  HWY_DYNAMIC_DISPATCH(HeadScanKernel)(in, 0, in.heads, state, y);
}

void head_scan(const HeadScan& in, int64_t first, int64_t count, MatView<float> state,
               MatView<float> y) noexcept {
  HWY_DYNAMIC_DISPATCH(HeadScanKernel)(in, first, count, state, y);
}

void head_scan(const HeadScan& in, int64_t first, int64_t count, const CodedState& state,
               MatView<float> y) noexcept {
  HWY_DYNAMIC_DISPATCH(CodedHeadScanKernel)(in, first, count, state, y);
}

}  // namespace scute
#endif  // HWY_ONCE
