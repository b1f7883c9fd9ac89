#include <algorithm>
#include <cstring>
#include <memory>

#include "scute/kernels/gemm_int8_impl.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "scute/kernels/gemm_int8_highway.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace scute {
namespace HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;

/// Outputs per panel of packed codes: two 512-bit vectors of sums.
constexpr int64_t kPanel = 32;

// Rows of a register block, which is two vectors wide: as the float kernel's, whose registers
// these are.
#if HWY_TARGET <= HWY_AVX3
constexpr int64_t kRows = 8;
#else
constexpr int64_t kRows = 6;
#endif

using D = hn::CappedTag<int32_t, 16>;
using V = hn::Vec<D>;
using DFloat = hn::RebindToFloat<D>;

// Two neighbouring inputs as int16, in every lane of a sum. A pair of products is at most 2·2^14
// and is added up in int32 (vpmaddwd on x86): nothing saturates. Some targets keep odd products
// apart, in `odd`, until all_products().
#if HWY_TARGET == HWY_SCALAR
struct Pair {
  int16_t even, odd;
};
HWY_INLINE Pair load_codes(const int8_t* w) { return {w[0], w[1]}; }
HWY_INLINE Pair broadcast(const int16_t* in) { return {in[0], in[1]}; }
HWY_INLINE V add_products(Pair x, Pair w, V sum, V&) {
  return V(sum.raw + x.even * w.even + x.odd * w.odd);
}
HWY_INLINE V all_products(V sum, V) { return sum; }
HWY_INLINE int64_t widen_vectors(const int8_t*, int64_t, int16_t*) { return 0; }
#else
using DPair = hn::Repartition<int16_t, D>;
using Pair = hn::Vec<DPair>;
using DCodes = hn::Rebind<int8_t, DPair>;

HWY_INLINE Pair load_codes(const int8_t* w) {
  return hn::PromoteTo(DPair(), hn::LoadU(DCodes(), w));
}
HWY_INLINE Pair broadcast(const int16_t* in) {
  int32_t both;
  std::memcpy(&both, in, sizeof(both));
  return hn::BitCast(DPair(), hn::Set(D(), both));
}
HWY_INLINE V add_products(Pair x, Pair w, V sum, V& odd) {
  return hn::ReorderWidenMulAccumulate(D(), x, w, sum, odd);
}
HWY_INLINE V all_products(V sum, V odd) { return hn::RearrangeToOddPlusEven(sum, odd); }

/// Whole vectors of n codes, as int16; how many codes that is.
HWY_INLINE int64_t widen_vectors(const int8_t* x, int64_t n, int16_t* out) {
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(DPair()));
  int64_t k = 0;
  for (; k + lanes <= n; k += lanes) hn::StoreU(load_codes(x + k), DPair(), out + k);
  return k;
}
#endif

/// The sums themselves, or each times its scale.
struct Sums {
  using Out = int32_t;
  using DOut = D;
  V operator()(V sums, int64_t, int64_t) const { return sums; }
};

struct Scaled {
  using Out = float;
  using DOut = DFloat;
  const float* scales;

  HWY_INLINE hn::Vec<DFloat> operator()(V sums, int64_t out, int64_t count) const {
    const DFloat d;
    const auto values = hn::ConvertTo(d, sums);
    if (HWY_LIKELY(count >= static_cast<int64_t>(hn::Lanes(d)))) {
      return hn::Mul(values, hn::LoadU(d, scales + out));
    }
    HWY_ALIGN float all[hn::MaxLanes(d)] = {};
    std::copy(scales + out, scales + out + count, all);
    return hn::Mul(values, hn::Load(d, all));
  }
};

template <class DOut, class Out>
HWY_INLINE void store(hn::Vec<DOut> values, Out* y, int64_t count) {
  const DOut d;
  if (HWY_LIKELY(count >= static_cast<int64_t>(hn::Lanes(d)))) {
    hn::StoreU(values, d, y);
  } else {
    HWY_ALIGN Out all[hn::MaxLanes(d)];
    hn::Store(values, d, all);
    std::copy(all, all + count, y);
  }
}

/// Rows [row, row + R) by N vectors of outputs from `out` on. x holds the codes as int16, an even
/// number of columns; w: pairs of inputs, the two codes of an output side by side.
template <int64_t R, int64_t N, class Finish>
HWY_NOINLINE void multiply_block(MatView<const int16_t> x, MatView<typename Finish::Out> y,
                                 int64_t row, int64_t out, const int8_t* HWY_RESTRICT w,
                                 const Finish& finish) {
  const D d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  const int64_t inputs = x.cols, stride = x.stride;
  const int16_t* HWY_RESTRICT in = x.row(row);
  V sums[R][N], odd[R][N];
  for (int64_t r = 0; r < R; ++r) {
    for (int64_t n = 0; n < N; ++n) sums[r][n] = odd[r][n] = hn::Zero(d);
  }
  for (int64_t k = 0; k < inputs; k += 2, w += 2 * kPanel) {
    Pair weights[N];
    for (int64_t n = 0; n < N; ++n) weights[n] = load_codes(w + 2 * n * lanes);
    for (int64_t r = 0; r < R; ++r) {
      const Pair values = broadcast(in + r * stride + k);
      for (int64_t n = 0; n < N; ++n) {
        sums[r][n] = add_products(values, weights[n], sums[r][n], odd[r][n]);
      }
    }
  }
  for (int64_t r = 0; r < R; ++r) {
    for (int64_t n = 0; n < N; ++n) {
      const int64_t first = out + n * lanes, count = y.cols - first;
      if (count <= 0) continue;
      const V sum = all_products(sums[r][n], odd[r][n]);
      store<typename Finish::DOut>(finish(sum, first, count), y.row(row + r) + first, count);
    }
  }
}

/// The same for `rows` ≤ R known only at run time.
template <int64_t R, int64_t N, class Finish>
HWY_INLINE void multiply_rows(MatView<const int16_t> x, MatView<typename Finish::Out> y,
                              int64_t row, int64_t rows, int64_t out, const int8_t* w,
                              const Finish& finish) {
  if constexpr (R > 0) {
    if (rows == R) {
      multiply_block<R, N>(x, y, row, out, w, finish);
    } else {
      multiply_rows<R - 1, N>(x, y, row, rows, out, w, finish);
    }
  }
}

/// Panels outside, rows inside: a panel (K · 32 bytes) stays in the cache meanwhile.
template <class Finish>
HWY_INLINE void multiply(MatView<const int16_t> x, const int8_t* panels,
                         MatView<typename Finish::Out> y, const Finish& finish) {
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(D()));
  for (int64_t first = 0; first < y.cols; first += kPanel) {
    const int64_t end = std::min(y.cols, first + kPanel);
    for (int64_t row = 0; row < x.rows; row += kRows) {
      const int64_t rows = std::min(kRows, x.rows - row);
      for (int64_t out = first; out < end; out += 2 * lanes) {
        const int8_t* w = panels + first * x.cols + 2 * (out - first);
        if (end - out > lanes) {
          multiply_rows<kRows, 2>(x, y, row, rows, out, w, finish);
        } else {
          multiply_rows<kRows, 1>(x, y, row, rows, out, w, finish);
        }
      }
    }
  }
}

void multiply_sums(MatView<const int16_t> x, const int8_t* panels, MatView<int32_t> y) {
  multiply(x, panels, y, Sums());
}
void multiply_floats(MatView<const int16_t> x, const int8_t* panels, const float* scales,
                     MatView<float> y) {
  multiply(x, panels, y, Scaled{scales});
}

/// x as int16, rows of to.cols = x.cols or one more, which is zero.
void widen(MatView<const int8_t> x, MatView<int16_t> to) {
  for (int64_t r = 0; r < x.rows; ++r) {
    const int8_t* from = x.row(r);
    int16_t* out = to.row(r);
    for (int64_t k = widen_vectors(from, x.cols, out); k < x.cols; ++k) out[k] = from[k];
    std::fill(out + x.cols, out + to.cols, int16_t{0});
  }
}

void scale_rows(MatView<const int32_t> sums, const float* scales, MatView<float> y) {
  const D d;
  const DFloat df;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  for (int64_t r = 0; r < sums.rows; ++r) {
    const int32_t* from = sums.row(r);
    float* out = y.row(r);
    int64_t o = 0;
    for (; o + lanes <= sums.cols; o += lanes) {
      const auto values = hn::ConvertTo(df, hn::LoadU(d, from + o));
      hn::StoreU(hn::Mul(values, hn::LoadU(df, scales + o)), df, out + o);
    }
    for (; o < sums.cols; ++o) out[o] = static_cast<float>(from[o]) * scales[o];
  }
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace scute
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace scute {
namespace {

HWY_EXPORT(multiply_sums);
HWY_EXPORT(multiply_floats);
HWY_EXPORT(widen);
HWY_EXPORT(scale_rows);

constexpr int64_t kPanel = HWY_STATIC_DISPATCH(kPanel);
// Rows that share one pass over the codes: a multiple of every kRows.
constexpr int64_t kChunk = 120;

int64_t even(int64_t n) { return n + n % 2; }

/// panels[p][k / 2][j][k % 2] = codes[32·p + j][k], zero where there is no such output or input.
Tensor pack(const Tensor& codes) {
  const int64_t outputs = codes.dim(0), inputs = codes.dim(1), pairs = even(inputs) / 2;
  const int64_t panels = (outputs + kPanel - 1) / kPanel;
  Tensor all(DType::i8, {panels, pairs, kPanel, 2});
  const auto to = all.mutable_values<int8_t>();
  const auto from = codes.values<int8_t>();
  for (int64_t o = 0; o < outputs; ++o) {
    const int8_t* row = from.data() + o * inputs;
    int8_t* column = to.data() + o / kPanel * kPanel * 2 * pairs + o % kPanel * 2;
    for (int64_t k = 0; k < inputs; ++k) column[k / 2 * 2 * kPanel + k % 2] = row[k];
  }
  return all;
}

struct HighwayInt8 final : GemmInt8::Impl {
  explicit HighwayInt8(const Tensor& codes) : panels(pack(codes)) {}

  /// Calls product(widened rows of x, the first of them, their number).
  template <class Product>
  static void for_each_chunk(MatView<const int8_t> x, const Product& product) {
    const int64_t cols = even(x.cols);
    const auto scratch = std::make_unique_for_overwrite<int16_t[]>(
        static_cast<size_t>(std::min(kChunk, x.rows) * cols));
    for (int64_t row = 0; row < x.rows; row += kChunk) {
      const MatView<int16_t> wide(scratch.get(), std::min(kChunk, x.rows - row), cols);
      HWY_DYNAMIC_DISPATCH(widen)(x.slice_rows(row, wide.rows), wide);
      product(wide, row, wide.rows);
    }
  }

  void multiply(MatView<const int8_t> x, MatView<int32_t> y) const noexcept override {
    const int8_t* codes = panels.values<int8_t>().data();
    for_each_chunk(x, [&](MatView<const int16_t> wide, int64_t row, int64_t rows) {
      HWY_DYNAMIC_DISPATCH(multiply_sums)(wide, codes, y.slice_rows(row, rows));
    });
  }
  void multiply_scaled(MatView<const int8_t> x, const float* scales,
                       MatView<float> y) const noexcept override {
    const int8_t* codes = panels.values<int8_t>().data();
    for_each_chunk(x, [&](MatView<const int16_t> wide, int64_t row, int64_t rows) {
      HWY_DYNAMIC_DISPATCH(multiply_floats)(wide, codes, scales, y.slice_rows(row, rows));
    });
  }
  std::string_view name() const override { return "highway int8"; }
  int64_t bytes() const override { return panels.size(); }

  Tensor panels;
};

}  // namespace

std::shared_ptr<const GemmInt8::Impl> make_highway_gemm_int8(const Tensor& codes) {
  return std::make_shared<HighwayInt8>(codes);
}

void scale_sums(MatView<const int32_t> sums, const float* scales, MatView<float> y) noexcept {
  HWY_DYNAMIC_DISPATCH(scale_rows)(sums, scales, y);
}

}  // namespace scute
#endif
