// The register blocks of our own float products; included once per instruction set.
#if defined(SCUTE_KERNELS_GEMM_BLOCK_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef SCUTE_KERNELS_GEMM_BLOCK_INL_H_
#undef SCUTE_KERNELS_GEMM_BLOCK_INL_H_
#else
#define SCUTE_KERNELS_GEMM_BLOCK_INL_H_
#endif

#include <algorithm>
#include <cstdint>

#include "hwy/highway.h"
#include "scute/tensor/mat_view.h"

HWY_BEFORE_NAMESPACE();
namespace scute {
namespace HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;

/// Outputs per panel of packed weights: two 512-bit vectors, and the same layout on every target.
constexpr int64_t kPanel = 32;

// Rows of a register block, which is two vectors wide. AVX-512, 32 registers: 16 sums are enough to
// hide the latency of two multiply-adds a cycle, and measure better than 24 (115 against 110
// GFLOP/s on one Zen 4 core). 16 registers: 12 sums, 2 weights, 1 broadcast, and 1 for the product
// where there is no fused multiply-add.
#if HWY_TARGET <= HWY_AVX3
constexpr int64_t kRows = 8;
#else
constexpr int64_t kRows = 6;
#endif

using D = hn::CappedTag<float, 16>;
using V = hn::Vec<D>;
using DBits = hn::Rebind<uint32_t, D>;
using DHalf = hn::Rebind<uint16_t, D>;

HWY_INLINE V load_weights(const float* w) { return hn::LoadU(D(), w); }
HWY_INLINE V load_weights(const uint16_t* w) {
  return hn::BitCast(D(), hn::ShiftLeft<16>(hn::PromoteTo(DBits(), hn::LoadU(DHalf(), w))));
}

HWY_INLINE void store(V sums, float* y, int64_t count) {
  const D d;
  if (HWY_LIKELY(count >= static_cast<int64_t>(hn::Lanes(d)))) {
    hn::StoreU(sums, d, y);
  } else {
    HWY_ALIGN float all[hn::MaxLanes(d)];
    hn::Store(sums, d, all);
    std::copy(all, all + count, y);
  }
}

HWY_INLINE V load(const float* y, int64_t count) {
  const D d;
  if (HWY_LIKELY(count >= static_cast<int64_t>(hn::Lanes(d)))) return hn::LoadU(d, y);
  HWY_ALIGN float all[hn::MaxLanes(d)] = {};
  std::copy(y, y + count, all);
  return hn::Load(d, all);
}

/// What sums start from: zero, or y, which holds those of the inputs before.
enum class Start { kZero, kSums };

/// Rows [row, row + R) by N vectors of outputs from `out` on, whose weights begin at w. Each sum
/// runs over the inputs in order, so its bits depend neither on R nor on N nor on where the inputs
/// are cut.
template <Start S, int64_t R, int64_t N, class W>
HWY_NOINLINE void multiply_block(MatView<const float> x, MatView<float> y, int64_t row, int64_t out,
                                 const W* HWY_RESTRICT w) {
  const D d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  const int64_t inputs = x.cols, stride = x.stride;
  const float* HWY_RESTRICT in = x.row(row);
  V sums[R][N];
  for (int64_t r = 0; r < R; ++r) {
    for (int64_t n = 0; n < N; ++n) {
      const int64_t first = out + n * lanes;
      const bool resumes = S == Start::kSums && first < y.cols;
      sums[r][n] = resumes ? load(y.row(row + r) + first, y.cols - first) : hn::Zero(d);
    }
  }
  for (int64_t k = 0; k < inputs; ++k, w += kPanel) {
    V weights[N];
    for (int64_t n = 0; n < N; ++n) weights[n] = load_weights(w + n * lanes);
    for (int64_t r = 0; r < R; ++r) {
      const V value = hn::Set(d, in[r * stride + k]);
      for (int64_t n = 0; n < N; ++n) sums[r][n] = hn::MulAdd(value, weights[n], sums[r][n]);
    }
  }
  for (int64_t r = 0; r < R; ++r) {
    for (int64_t n = 0; n < N; ++n) {
      const int64_t first = out + n * lanes;
      if (first < y.cols) store(sums[r][n], y.row(row + r) + first, y.cols - first);
    }
  }
}

/// The same for `rows` ≤ R known only at run time.
template <Start S, int64_t R, int64_t N, class W>
HWY_INLINE void multiply_rows(MatView<const float> x, MatView<float> y, int64_t row, int64_t rows,
                              int64_t out, const W* w) {
  if constexpr (R > 0) {
    if (rows == R) {
      multiply_block<S, R, N>(x, y, row, out, w);
    } else {
      multiply_rows<S, R - 1, N>(x, y, row, rows, out, w);
    }
  }
}

/// The outputs of the panel whose first is `first`, for all rows.
template <Start S, class W>
HWY_INLINE void multiply_panel(MatView<const float> x, const W* panel, MatView<float> y,
                               int64_t first) {
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(D()));
  const int64_t end = std::min(y.cols, first + kPanel);
  for (int64_t row = 0; row < x.rows; row += kRows) {
    const int64_t rows = std::min(kRows, x.rows - row);
    for (int64_t out = first; out < end; out += 2 * lanes) {
      if (end - out > lanes) {
        multiply_rows<S, kRows, 2>(x, y, row, rows, out, panel + (out - first));
      } else {
        multiply_rows<S, kRows, 1>(x, y, row, rows, out, panel + (out - first));
      }
    }
  }
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace scute
HWY_AFTER_NAMESPACE();

#endif  // SCUTE_KERNELS_GEMM_BLOCK_INL_H_
