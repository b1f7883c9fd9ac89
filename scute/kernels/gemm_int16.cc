#include "scute/kernels/gemm_int16.h"

#include <algorithm>
#include <cstring>
#include <string>
#include <vector>

#include "scute/base/error.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "scute/kernels/gemm_int16.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace scute {
namespace HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;

/// Outputs per panel of packed codes: two 512-bit vectors of sums.
constexpr int64_t kPanel = 32;

// A code is 256·high + low, low in −128 … 127 and so high in −128 … 128. A product of x with either
// half is at most 2^15·2^7 = 2^22, so that 510 of them sum to less than 2^31 in int32 (vpmaddwd on
// x86); then both sums move on to int64. Even, for inputs go in pairs.
constexpr int64_t kMostSummed = 510;

// A register block is R rows by N vectors of outputs, low and high sums apart. AVX-512, 32
// registers: 24 sums, 4 weights, 1 broadcast. 16 registers: 12 sums, 2 weights, 1 broadcast and 1
// for the products.
constexpr int64_t kRows = 6;
#if HWY_TARGET <= HWY_AVX3
constexpr int64_t kVectors = 2;
#else
constexpr int64_t kVectors = 1;
#endif

using D = hn::CappedTag<int32_t, 16>;
using V = hn::Vec<D>;

// Two neighbouring inputs in every lane of a sum. Some targets keep odd products apart, in `odd`,
// until all_products().
#if HWY_TARGET == HWY_SCALAR
struct Pair {
  int16_t even, odd;
};
HWY_INLINE Pair load_codes(const int16_t* w) { return {w[0], w[1]}; }
HWY_INLINE Pair broadcast(const int16_t* in) { return {in[0], in[1]}; }
HWY_INLINE V add_products(Pair x, Pair w, V sum, V&) {
  return V(sum.raw + x.even * w.even + x.odd * w.odd);
}
HWY_INLINE V all_products(V sum, V) { return sum; }
#else
using DPair = hn::Repartition<int16_t, D>;
using Pair = hn::Vec<DPair>;

HWY_INLINE Pair load_codes(const int16_t* w) { return hn::LoadU(DPair(), w); }
HWY_INLINE Pair broadcast(const int16_t* in) {
  int32_t both;
  std::memcpy(&both, in, sizeof(both));
  return hn::BitCast(DPair(), hn::Set(D(), both));
}
HWY_INLINE V add_products(Pair x, Pair w, V sum, V& odd) {
  return hn::ReorderWidenMulAccumulate(D(), x, w, sum, odd);
}
HWY_INLINE V all_products(V sum, V odd) { return hn::RearrangeToOddPlusEven(sum, odd); }
#endif

/// y += 256·high + low for `count` ≤ lanes outputs. Not inline, for it is unrolled 12 times.
HWY_NOINLINE void add_sums(V low, V high, int64_t* HWY_RESTRICT y, int64_t count) {
  const D d;
  HWY_ALIGN int32_t lows[hn::MaxLanes(d)];
  HWY_ALIGN int32_t highs[hn::MaxLanes(d)];
  hn::Store(low, d, lows);
  hn::Store(high, d, highs);
  if (HWY_LIKELY(count == static_cast<int64_t>(hn::Lanes(d)))) {
    for (size_t i = 0; i < hn::Lanes(d); ++i) y[i] += int64_t{highs[i]} * 256 + lows[i];
  } else {
    for (int64_t i = 0; i < count; ++i) y[i] += int64_t{highs[i]} * 256 + lows[i];
  }
}

/// Adds to rows [row, row + R) of y, N vectors of outputs from `out` on, the products of at most
/// kMostSummed inputs, an even number. w: for each pair of inputs the low halves of a panel, the
/// two of an output side by side, then the high halves, which are zero and not read without kHigh.
template <int64_t R, int64_t N, bool kHigh>
HWY_NOINLINE void multiply_block(MatView<const int16_t> x, MatView<int64_t> y, int64_t row,
                                 int64_t out, const int16_t* HWY_RESTRICT w) {
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(D()));
  const int64_t inputs = x.cols, stride = x.stride;
  const int16_t* HWY_RESTRICT in = x.row(row);
  // All unrolled: a sum that any loop addresses at run time would live in memory (measured: 27
  // GMAC/s instead of 43).
  V low[R][N], high[R][N], odd_low[R][N], odd_high[R][N];
#pragma GCC unroll 8
  for (int64_t r = 0; r < R; ++r) {
#pragma GCC unroll 2
    for (int64_t n = 0; n < N; ++n) {
      low[r][n] = high[r][n] = odd_low[r][n] = odd_high[r][n] = hn::Zero(D());
    }
  }
  for (int64_t k = 0; k < inputs; k += 2, w += 4 * kPanel) {
    Pair lows[N], highs[N];
#pragma GCC unroll 2
    for (int64_t n = 0; n < N; ++n) {
      lows[n] = load_codes(w + 2 * n * lanes);
      if constexpr (kHigh) highs[n] = load_codes(w + 2 * kPanel + 2 * n * lanes);
    }
#pragma GCC unroll 8
    for (int64_t r = 0; r < R; ++r) {
      const Pair values = broadcast(in + r * stride + k);
#pragma GCC unroll 2
      for (int64_t n = 0; n < N; ++n) {
        low[r][n] = add_products(values, lows[n], low[r][n], odd_low[r][n]);
        if constexpr (kHigh) {
          high[r][n] = add_products(values, highs[n], high[r][n], odd_high[r][n]);
        }
      }
    }
  }
#pragma GCC unroll 8
  for (int64_t r = 0; r < R; ++r) {
#pragma GCC unroll 2
    for (int64_t n = 0; n < N; ++n) {
      const int64_t first = out + n * lanes;
      if (first >= y.cols) continue;
      add_sums(all_products(low[r][n], odd_low[r][n]), all_products(high[r][n], odd_high[r][n]),
               y.row(row + r) + first, std::min(lanes, y.cols - first));
    }
  }
}

/// The same for `rows` ≤ R known only at run time.
template <int64_t R, bool kHigh>
HWY_INLINE void multiply_rows(MatView<const int16_t> x, MatView<int64_t> y, int64_t row,
                              int64_t rows, int64_t out, const int16_t* w) {
  if constexpr (R > 0) {
    if (rows == R) {
      multiply_block<R, kVectors, kHigh>(x, y, row, out, w);
    } else {
      multiply_rows<R - 1, kHigh>(x, y, row, rows, out, w);
    }
  }
}

/// The outputs of the panel whose first is `first`. w: what the panel has for these inputs, at most
/// kMostSummed and even, which stays in the cache (64 KiB) while all rows pass.
template <bool kHigh>
HWY_INLINE void multiply_panel(MatView<const int16_t> x, const int16_t* w, MatView<int64_t> y,
                               int64_t first) {
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(D()));
  const int64_t end = std::min(y.cols, first + kPanel);
  for (int64_t row = 0; row < x.rows; row += kRows) {
    const int64_t rows = std::min(kRows, x.rows - row);
    for (int64_t out = first; out < end; out += kVectors * lanes) {
      multiply_rows<kRows, kHigh>(x, y, row, rows, out, w + 2 * (out - first));
    }
  }
}

/// Likewise for one input alone, the last of an odd number: a pair with zero.
template <bool kHigh>
HWY_INLINE void multiply_last(MatView<const int16_t> x, const int16_t* w, MatView<int64_t> y,
                              int64_t first) {
  int16_t pairs[kRows][2] = {};
  for (int64_t row = 0; row < x.rows; row += kRows) {
    const int64_t rows = std::min(kRows, x.rows - row);
    for (int64_t r = 0; r < rows; ++r) pairs[r][0] = *x.row(row + r);
    multiply_panel<kHigh>({pairs[0], rows, 2}, w, y.slice_rows(row, rows), first);
  }
}

/// Likewise for any number of inputs.
template <bool kHigh>
void multiply_all(MatView<const int16_t> x, const int16_t* w, MatView<int64_t> y, int64_t first) {
  const int64_t even = x.cols / 2 * 2;
  for (int64_t k = 0; k < even; k += kMostSummed) {
    const auto some = x.columns(k, std::min(kMostSummed, even - k));
    multiply_panel<kHigh>(some, w + k * 2 * kPanel, y, first);
  }
  if (even < x.cols) {
    multiply_last<kHigh>(x.columns(even, 1), w + even * 2 * kPanel, y, first);
  }
}

}  // namespace

void MultiplyInt16Kernel(MatView<const int16_t> x, const int16_t* panels, const uint8_t* narrow,
                         MatView<int64_t> y) {
  for (int64_t r = 0; r < y.rows; ++r) std::fill_n(y.row(r), y.cols, int64_t{0});
  const int64_t pairs = (x.cols + 1) / 2;
  for (int64_t first = 0; first < y.cols; first += kPanel) {
    const int16_t* panel = panels + first / kPanel * pairs * 4 * kPanel;
    if (narrow[first / kPanel] != 0) {
      multiply_all<false>(x, panel, y, first);
    } else {
      multiply_all<true>(x, panel, y, first);
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace scute
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace scute {

HWY_EXPORT(MultiplyInt16Kernel);

namespace {

constexpr int64_t kPanel = HWY_STATIC_DISPATCH(kPanel);

/// panels[p][k / 2][half][j][k % 2] = the low (0) or high (1) half of codes[32·p + j][k], zero
/// where there is no such output or input.
Tensor pack(const Tensor& codes) {
  const int64_t outputs = codes.dim(0), inputs = codes.dim(1), pairs = (inputs + 1) / 2;
  Tensor all(DType::i16, {(outputs + kPanel - 1) / kPanel, pairs, 2, kPanel, 2});
  const auto to = all.mutable_values<int16_t>();
  const auto from = codes.values<int16_t>();
  for (int64_t o = 0; o < outputs; ++o) {
    const int16_t* row = from.data() + o * inputs;
    int16_t* column = to.data() + o / kPanel * pairs * 4 * kPanel + o % kPanel * 2;
    for (int64_t k = 0; k < inputs; ++k) {
      const auto low = static_cast<int8_t>(row[k] & 255);
      int16_t* at = column + k / 2 * 4 * kPanel + k % 2;
      at[0] = low;
      at[2 * kPanel] = static_cast<int16_t>((row[k] - low) / 256);
    }
  }
  return all;
}

/// Such panels take half the time; of Q8.8 weights below 0.5 all are.
std::vector<uint8_t> narrow_panels(const Tensor& codes) {
  const int64_t outputs = codes.dim(0), inputs = codes.dim(1);
  const auto all = codes.values<int16_t>();
  std::vector<uint8_t> narrow(static_cast<size_t>((outputs + kPanel - 1) / kPanel));
  for (int64_t p = 0; p < std::ssize(narrow); ++p) {
    const int64_t rows = std::min(kPanel, outputs - p * kPanel);
    const auto own =
        all.subspan(static_cast<size_t>(p * kPanel * inputs), static_cast<size_t>(rows * inputs));
    narrow[static_cast<size_t>(p)] =
        std::ranges::all_of(own, [](int16_t code) { return code >= -128 && code <= 127; });
  }
  return narrow;
}

}  // namespace

struct GemmInt16::Impl {
  Tensor panels;
  std::vector<uint8_t> narrow;  ///< for each panel, 1 if all of its codes are bytes
};

GemmInt16::GemmInt16(const Tensor& codes) {
  if (codes.rank() != 2) fail("GemmInt16 codes", "outputs × inputs", to_string(codes.shape()));
  if (codes.dtype() != DType::i16) fail("GemmInt16 codes", "I16", name_of(codes.dtype()));
  outputs_ = codes.dim(0);
  inputs_ = codes.dim(1);
  impl_ = std::make_shared<const Impl>(Impl{pack(codes), narrow_panels(codes)});
}

void GemmInt16::operator()(MatView<const int16_t> x, MatView<int64_t> y) const noexcept {
  if (impl_ == nullptr) return;
  HWY_DYNAMIC_DISPATCH(MultiplyInt16Kernel)
  (x, impl_->panels.values<int16_t>().data(), impl_->narrow.data(), y);
}

int64_t GemmInt16::bytes() const {
  return impl_ == nullptr ? 0 : std::ssize(impl_->panels.bytes());
}

}  // namespace scute
#endif  // HWY_ONCE
