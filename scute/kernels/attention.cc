#include "scute/kernels/attention.h"

#include <algorithm>
#include <limits>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "scute/kernels/attention.cc"
#include "hwy/foreach_target.h"
// After foreach_target.h.
#include "hwy/highway.h"
#include "scute/kernels/gemm_block-inl.h"
#include "scute/kernels/softmax-inl.h"

HWY_BEFORE_NAMESPACE();
namespace scute {
namespace HWY_NAMESPACE {
namespace {

// Queries that share one pass over the packed keys and values: a multiple of every kRows. Their
// scores (70 KiB for 734 keys) stay in the second-level cache beside the keys and values.
constexpr int64_t kQueries = 24;

/// Where scratch memory holds what. Sizes are multiples of 64 bytes up to the last.
struct Layout {
  int64_t keys, values, scores, queries, end;
  Layout(int64_t count, int64_t width)
      : keys(0),
        values(keys + whole_panels(count) * width),
        scores(values + count * whole_panels(width)),
        queries(scores + kQueries * (whole_panels(count) + kGap)),
        end(queries + kQueries * width) {}
};

/// to[p][c][j] = k[32·p + j][c], zero where there is no such key: the weights of q·kᵀ.
void pack_keys(MatView<const float> k, float* HWY_RESTRICT to) {
  for (int64_t first = 0; first < k.rows; first += kPanel, to += kPanel * k.cols) {
    for (int64_t j = 0; j < kPanel; ++j) {
      const float* from = first + j < k.rows ? k.row(first + j) : nullptr;
      for (int64_t c = 0; c < k.cols; ++c) to[c * kPanel + j] = from != nullptr ? from[c] : 0.0f;
    }
  }
}

/// to[p][key][j] = v[key][32·p + j], zero where there is no such column: the weights of p·v.
void pack_values(MatView<const float> v, float* HWY_RESTRICT to) {
  for (int64_t first = 0; first < v.cols; first += kPanel) {
    const int64_t count = std::min(kPanel, v.cols - first);
    for (int64_t key = 0; key < v.rows; ++key, to += kPanel) {
      std::copy_n(v.row(key) + first, count, to);
      std::fill(to + count, to + kPanel, 0.0f);
    }
  }
}

/// Side by side, as the register blocks like them: rows 12 KiB apart, as those of a tower's q are,
/// fall into one set of the first-level cache.
void pack_queries(MatView<const float> q, float scale, float* HWY_RESTRICT to) {
  for (int64_t r = 0; r < q.rows; ++r, to += q.cols) {
    for (int64_t c = 0; c < q.cols; ++c) to[c] = q.row(r)[c] * scale;
  }
}

/// Turns the first `keys` of `n` scores into weights and the others into zeros; returns their sum,
/// at least 1 or NaN.
float weigh(float* scores, int64_t keys, int64_t n) {
  std::fill(scores + keys, scores + n, -std::numeric_limits<float>::infinity());
  exponentials(scores, n, largest_score(scores, n));
  return static_cast<float>(sum_of(scores, n));
}

/// y = x · weights, these packed in panels.
void multiply_panels(MatView<const float> x, const float* panels, MatView<float> y) {
  for (int64_t first = 0; first < y.cols; first += kPanel) {
    const auto out = y.columns(first, std::min(kPanel, y.cols - first));
    const float* none = nullptr;
    multiply_panel(x, panels + first * x.cols, out, Finish{Into::kFresh}, none);
  }
}

}  // namespace

int64_t ScratchFloats(int64_t keys, int64_t width) {
  return Layout(keys, width).end + kPanel;  // some of it to reach a multiple of 64 bytes
}

void AttentionKernel(MatView<const float> q, MatView<const float> k, MatView<const float> v,
                     float scale, float* scratch, MatView<float> y) {
  const Layout at(k.rows, k.cols);
  float* memory = aligned(scratch);
  pack_keys(k, memory + at.keys);
  pack_values(v, memory + at.values);
  const int64_t columns = whole_panels(k.rows);
  for (int64_t first = 0; first < q.rows; first += kQueries) {
    const int64_t rows = std::min(kQueries, q.rows - first);
    pack_queries(q.slice_rows(first, rows), scale, memory + at.queries);
    const MatView<float> scores(memory + at.scores, rows, columns, columns + kGap);
    multiply_panels({memory + at.queries, rows, k.cols}, memory + at.keys, scores);
    float sums[kQueries];
    for (int64_t r = 0; r < rows; ++r) sums[r] = weigh(scores.row(r), k.rows, columns);
    const MatView<float> out = y.slice_rows(first, rows);
    multiply_panels(scores.columns(0, k.rows), memory + at.values, out);
    for (int64_t r = 0; r < rows; ++r) divide(out.row(r), out.cols, sums[r]);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace scute
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace scute {

HWY_EXPORT(AttentionKernel);

int64_t attention_scratch(int64_t keys, int64_t head_width) noexcept {
  return HWY_STATIC_DISPATCH(ScratchFloats)(keys, head_width);  // the same on every target
}

void attention(MatView<const float> q, MatView<const float> k, MatView<const float> v, float scale,
               float* scratch, MatView<float> y) noexcept {
  HWY_DYNAMIC_DISPATCH(AttentionKernel)(q, k, v, scale, scratch, y);
}

}  // namespace scute
#endif  // HWY_ONCE
