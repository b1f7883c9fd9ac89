#include "scute/kernels/gram.h"

#include <cstddef>
#include <cstring>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "scute/kernels/gram.cc"
#include "hwy/foreach_target.h"
// After foreach_target.h.
#include "hwy/cache_control.h"
#include "hwy/highway.h"
#include "scute/kernels/math-inl.h"

HWY_BEFORE_NAMESPACE();
namespace scute {
namespace HWY_NAMESPACE {
namespace {

using D = hn::CappedTag<float, 16>;
using V = hn::Vec<D>;

// Rows of x whose products are added in f32: the part of gram.h that fixes the bits.
constexpr int64_t kTile = 128;
// Columns j of a panel: two 512-bit vectors. kTile · kPanel floats are 16 KiB: half of a small
// first-level cache.
constexpr int64_t kPanel = 32;
// Columns i of a register block, as in gemm_highway.cc: 8 or 6 times 2 vectors of sums.
#if HWY_TARGET <= HWY_AVX3
constexpr int64_t kRows = 8;
#else
constexpr int64_t kRows = 6;
#endif
// Columns i that are packed at once, a multiple of either kRows. A panel is packed anew for each
// such block: one copy for 120 products. kTile · kBlock floats are 60 KiB.
constexpr int64_t kBlock = 120;
// Tiles that are added to a block of sums one after the other while it is in the second-level
// cache: 30 KiB for each panel. Their packed columns are 240 KiB, on the stack.
constexpr int64_t kTiles = 4;

/// to[t·kWidth + c] = x[t, first + c] for c < kWidth, zero beyond the last column. Packed, the rows
/// do not fall into a few sets of the caches, as those of x do, 6 KiB apart.
template <int64_t kWidth>
HWY_INLINE void pack(MatView<const float> x, int64_t first, float* to) {
  const int64_t count = HWY_MIN(kWidth, x.cols - first);
  for (int64_t t = 0; t < x.rows; ++t, to += kWidth) {
    const float* from = x.row(t) + first;
    if (count == kWidth) {
      // The next panel, too: rows 6 KiB apart are no pattern that a processor would follow.
      for (int64_t c = kWidth; c < 2 * kWidth && kWidth == kPanel; c += 16) {
        hwy::Prefetch(from + c);
      }
      std::memcpy(to, from, kWidth * sizeof(float));
    } else {
      for (int64_t c = 0; c < kWidth; ++c) to[c] = c < count ? from[c] : 0;
    }
  }
}

/// out[r, c] = Σ_t a[t, r] · b[t, c] for two vectors of c; a: rows × kRows, b: rows × kPanel, out:
/// kRows × kPanel.
HWY_NOINLINE void multiply_block(const float* HWY_RESTRICT a, const float* HWY_RESTRICT b,
                                 int64_t rows, float* HWY_RESTRICT out) {
  const D d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  V sums[kRows][2];
  for (int64_t r = 0; r < kRows; ++r) sums[r][0] = sums[r][1] = hn::Zero(d);
  for (int64_t t = 0; t < rows; ++t, a += kRows, b += kPanel) {
    const V b0 = hn::Load(d, b), b1 = hn::Load(d, b + lanes);
    for (int64_t r = 0; r < kRows; ++r) {
      const V value = hn::Set(d, a[r]);
      sums[r][0] = hn::MulAdd(value, b0, sums[r][0]);
      sums[r][1] = hn::MulAdd(value, b1, sums[r][1]);
    }
  }
  for (int64_t r = 0; r < kRows; ++r) {
    hn::Store(sums[r][0], d, out + r * kPanel);
    hn::Store(sums[r][1], d, out + r * kPanel + lanes);
  }
}

/// to[c] += from[c].
HWY_INLINE void add(const float* HWY_RESTRICT from, int64_t count, double* HWY_RESTRICT to) {
  const hn::CappedTag<double, 8> d;
  const hn::Rebind<float, decltype(d)> floats;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  int64_t c = 0;
  for (; c + lanes <= count; c += lanes) {
    const auto wide = hn::PromoteTo(d, hn::LoadU(floats, from + c));
    hn::StoreU(hn::Add(hn::LoadU(d, to + c), wide), d, to + c);
  }
  for (; c < count; ++c) to[c] += static_cast<double>(from[c]);
}

/// Columns [i, i + kRows) against [j, j + kPanel): what is on or above the diagonal.
HWY_INLINE void add_block(const float* a, const float* b, int64_t rows, int64_t i, int64_t j,
                          TriangleView<double> sums) {
  const auto lanes = static_cast<int64_t>(hn::Lanes(D()));
  const int64_t last_row = HWY_MIN(i + kRows, sums.size), end = HWY_MIN(j + kPanel, sums.size);
  // The sums of a wide matrix are in no cache near. Asked for before the products, which take
  // longer than their way here: 88 instead of 68 GFLOP/s at n = 1536.
  for (int64_t r = i; r < last_row; ++r) {
    for (int64_t c = HWY_MAX(r, j); c < end; c += 8) hwy::Prefetch(sums.row(r) + c);
  }
  HWY_ALIGN float out[kRows * kPanel];
  for (int64_t c = 0; c < kPanel; c += 2 * lanes) multiply_block(a, b + c, rows, out + c);
  for (int64_t r = i; r < last_row; ++r) {
    const int64_t first = HWY_MAX(r, j);
    if (first < end) add(out + (r - i) * kPanel + (first - j), end - first, sums.row(r) + first);
  }
}

/// At most kTiles tiles.
void add_tiles(MatView<const float> x, TriangleView<double> sums) {
  HWY_ALIGN float blocks[kTiles][kTile * kBlock];
  HWY_ALIGN float panel[kTile * kPanel];
  const auto tile = [&](int64_t t) {
    return x.slice_rows(t * kTile, HWY_MIN(kTile, x.rows - t * kTile));
  };
  const int64_t tiles = (x.rows + kTile - 1) / kTile;
  for (int64_t first = 0; first < x.cols; first += kBlock) {
    const int64_t end = HWY_MIN(first + kBlock, x.cols);
    for (int64_t t = 0; t < tiles; ++t) {
      const MatView<const float> rows = tile(t);
      for (int64_t i = first; i < end; i += kRows) {
        pack<kRows>(rows, i, blocks[t] + (i - first) * rows.rows);
      }
    }
    for (int64_t j = first / kPanel * kPanel; j < x.cols; j += kPanel) {
      for (int64_t t = 0; t < tiles; ++t) {
        const MatView<const float> rows = tile(t);
        pack<kPanel>(rows, j, panel);
        for (int64_t i = first; i < HWY_MIN(end, j + kPanel); i += kRows) {
          add_block(blocks[t] + (i - first) * rows.rows, panel, rows.rows, i, j, sums);
        }
      }
    }
  }
}

}  // namespace

void AddGramKernel(MatView<const float> x, TriangleView<double> sums) {
  constexpr int64_t kStep = kTiles * kTile;
  for (int64_t t = 0; t < x.rows; t += kStep) {
    add_tiles(x.slice_rows(t, HWY_MIN(kStep, x.rows - t)), sums);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace scute
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace scute {

HWY_EXPORT(AddGramKernel);

void add_gram(MatView<const float> x, TriangleView<double> sums) noexcept {
  HWY_DYNAMIC_DISPATCH(AddGramKernel)(x, sums);
}

}  // namespace scute
#endif  // HWY_ONCE
