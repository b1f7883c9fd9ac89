#include "scute/kernels/causal_attention.h"

#include <algorithm>
#include <cmath>
#include <limits>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "scute/kernels/causal_attention.cc"
#include "hwy/foreach_target.h"
// After foreach_target.h.
#include "hwy/highway.h"
#include "scute/base/portable_math.h"
#include "scute/kernels/softmax-inl.h"
#include "scute/tensor/dtype.h"

HWY_BEFORE_NAMESPACE();
namespace scute {
namespace HWY_NAMESPACE {
namespace {

// Rows of queries, tokens × query heads of one key head, that share one pass over its keys and
// values: a multiple of every kRows. 48 do 12,000 multiply-adds for the 1 KiB of a key and value of
// width 128, so that a prompt needs a few GB/s.
constexpr int64_t kQueryRows = 48;
constexpr float kLeast = -std::numeric_limits<float>::infinity();

/// Where scratch memory holds what. Sizes are multiples of 64 bytes up to the last.
struct CausalLayout {
  int64_t scores, sums, queries, end;
  explicit CausalLayout(int64_t width)
      : scores(0),
        sums(kQueryRows * (kCacheTile + kGap)),
        queries(sums + kQueryRows * whole_panels(width)),
        end(queries + kQueryRows * width) {}
};

/// Where elements of a cached head lie. Keys: panels of 32, [key / 32][c][key % 32]. Values: tiles
/// of keys, [key / 256][c / 32][key % 256][c % 32].
HWY_INLINE int64_t key_panel(int64_t key, int64_t width) { return key / kPanel * kPanel * width; }
HWY_INLINE int64_t value_panel(int64_t key, int64_t c, int64_t width) {
  const int64_t tile = key / kCacheTile;
  return (tile * whole_panels(width) + c / kPanel * kPanel) * kCacheTile;
}

/// One element: a float, bf16 bits or a code.
HWY_INLINE void convert(float x, float, float* to) { *to = x; }
HWY_INLINE void convert(float x, float, uint16_t* to) { *to = to_bf16(x).bits; }
HWY_INLINE void convert(float x, float scale, int8_t* to) {
  // A scale of 0, infinity or NaN alone makes the row what it must be.
  const bool usable = scale > 0 && scale < std::numeric_limits<float>::infinity();
  *to = usable ? static_cast<int8_t>(std::clamp(std::nearbyint(x / scale), -127.0f, 127.0f))
               : int8_t{0};
}

float scale_of(const float* x, int64_t n) {
  float most = 0;
  bool finite = true;
  for (int64_t c = 0; c < n; ++c) {
    most = std::max(most, std::abs(x[c]));
    finite = finite && std::isfinite(x[c]);
  }
  if (!finite) return std::numeric_limits<float>::quiet_NaN();
  const float scale = most / 127;
  return scale < std::numeric_limits<float>::min() ? 0.0f : scale;
}

template <class W>
void write_key(const float* x, int64_t width, float scale, int64_t key, W* keys) {
  W* to = keys + key_panel(key, width) + key % kPanel;
  for (int64_t c = 0; c < width; ++c) convert(x[c], scale, to + c * kPanel);
}

template <class W>
void write_value(const float* x, int64_t width, float scale, int64_t key, W* values) {
  for (int64_t first = 0; first < width; first += kPanel) {
    W* to = values + value_panel(key, first, width) + key % kCacheTile * kPanel;
    const int64_t count = std::min(kPanel, width - first);
    for (int64_t c = 0; c < count; ++c) convert(x[first + c], scale, to + c);
  }
}

template <class W>
void write_rows(const CachedHead& head, int64_t first, MatView<const float> k,
                MatView<const float> v) {
  for (int64_t r = 0; r < k.rows; ++r) {
    float key_scale = 1, value_scale = 1;
    if (head.form == CacheForm::int8) {
      key_scale = head.key_scales[first + r] = scale_of(k.row(r), k.cols);
      value_scale = head.value_scales[first + r] = scale_of(v.row(r), v.cols);
    }
    write_key(k.row(r), k.cols, key_scale, first + r, static_cast<W*>(head.keys));
    write_value(v.row(r), v.cols, value_scale, first + r, static_cast<W*>(head.values));
  }
}

HWY_INLINE float exponential(float x) {
  const D d;
  return hn::GetLane(exp2_decay(d, hn::Mul(hn::Set(d, x), hn::Set(d, 1.44269504f))));
}

HWY_INLINE void multiply_by(float* x, int64_t n, float by) {
  const D d;
  const V factor = hn::Set(d, by);
  for (int64_t i = 0; i < n; i += kLanes) {
    hn::StoreU(hn::Mul(hn::LoadU(d, x + i), factor), d, x + i);
  }
}

/// x ← x · factors; n is rounded up to whole panels.
HWY_INLINE void multiply_each(float* x, int64_t n, const float* factors) {
  const D d;
  for (int64_t i = 0; i < n; i += kLanes) {
    hn::StoreU(hn::Mul(hn::LoadU(d, x + i), hn::LoadU(d, factors + i)), d, x + i);
  }
}

/// Some query rows of one key head, and what is known of each row so far. Row r is query head
/// (first + r) % group of token (first + r) / group.
template <class W>
class QueryRows {
 public:
  QueryRows(const CausalAttention& in, int64_t part, float* memory)
      : in_(in),
        head_(in.cache[part % in.key_heads]),
        group_(in.heads / in.key_heads),
        first_head_(part % in.key_heads * group_),
        first_(part / in.key_heads * kQueryRows),
        rows_(std::min(kQueryRows, in.q.rows * group_ - first_)) {
    const CausalLayout at(width());
    scores_ = {memory + at.scores, rows_, kCacheTile, kCacheTile + kGap};
    weighed_ = {memory + at.sums, rows_, width(), whole_panels(width())};
    queries_ = {memory + at.queries, rows_, width()};
    std::fill_n(weighed_.data, rows_ * weighed_.stride, 0.0f);
    std::fill_n(most_, rows_, kLeast);
    std::fill_n(sum_, rows_, 0.0);
    for (int64_t r = 0; r < rows_; ++r) {
      const float* from = in_.q.row(token(r)) + column(r);
      for (int64_t c = 0; c < width(); ++c) queries_.row(r)[c] = from[c] * in_.scale;
    }
  }

  void run() {
    const int64_t keys = in_.position + token(rows_ - 1) + 1;
    for (int64_t key = 0; key < keys; key += kCacheTile) {
      see(key, std::min(kCacheTile, keys - key));
    }
    for (int64_t r = 0; r < rows_; ++r) {
      divide(weighed_.row(r), width(), static_cast<float>(sum_[r]));
      std::copy_n(weighed_.row(r), width(), in_.y.row(token(r)) + column(r));
    }
  }

 private:
  int64_t width() const { return head_.width; }
  int64_t token(int64_t r) const { return (first_ + r) / group_; }
  int64_t column(int64_t r) const { return (first_head_ + (first_ + r) % group_) * width(); }
  /// How many of the tile's keys row r sees: all that are there, or fewer.
  int64_t visible(int64_t r, int64_t key, int64_t count) const {
    return std::min(count, in_.position + token(r) + 1 - key);
  }

  /// One tile of keys, [key, key + count).
  void see(int64_t key, int64_t count) {
    // Rows whose tokens come before the tile have seen all they may.
    const int64_t before = std::max<int64_t>(0, (key - in_.position) * group_ - first_);
    score(before, key, count);
    for (int64_t r = before; r < rows_; ++r) weigh_row(r, key, visible(r, key, count));
    for (int64_t r = before; r < rows_; r += kRows) {
      add_values(r, std::min(kRows, rows_ - r), key, count);
    }
  }

  void score(int64_t before, int64_t key, int64_t count) {
    const auto queries = queries_.slice_rows(before, rows_ - before);
    const auto scores = scores_.slice_rows(before, rows_ - before);
    const W* keys = static_cast<const W*>(head_.keys) + key_panel(key, width());
    for (int64_t k = 0; k < count; k += kPanel) {
      const float* scales = head_.key_scales == nullptr ? nullptr : head_.key_scales + key + k;
      const W* none = nullptr;
      multiply_panel<float, W>(queries, keys + k * width(), scores.columns(k, kPanel),
                               Finish{Into::kFresh, scales}, none);
    }
  }

  /// Turns the row's first `seen` scores into weights, relative to its largest score so far.
  void weigh_row(int64_t r, int64_t key, int64_t seen) {
    float* scores = scores_.row(r);
    const int64_t whole = whole_panels(seen);
    std::fill(scores + seen, scores + whole, kLeast);
    const float most = std::max(most_[r], largest_score(scores, whole));
    if (most > most_[r]) {
      const float factor = exponential(most_[r] - most);
      multiply_by(weighed_.row(r), weighed_.stride, factor);
      sum_[r] *= static_cast<double>(factor);
      most_[r] = most;
    }
    // Where all are −∞, their weights are 0, not those of a largest score.
    exponentials(scores, whole, most == kLeast ? 0.0f : most);
    sum_[r] += sum_of(scores, whole);
    if (head_.value_scales != nullptr) multiply_each(scores, whole, head_.value_scales + key);
  }

  /// Adds the weighed values of the tile to rows [r, r + n), n ≤ kRows. What the first of them
  /// sees, all see; the few keys more of the others are added row by row, for a hidden one may be
  /// NaN.
  void add_values(int64_t r, int64_t n, int64_t key, int64_t count) {
    const int64_t common = visible(r, key, count);
    const Finish resumed{Into::kResumed};
    const W* none = nullptr;
    for (int64_t c = 0; c < width(); c += kPanel) {
      const W* values = static_cast<const W*>(head_.values) + value_panel(key, c, width());
      const auto to = weighed_.columns(c, std::min(kPanel, width() - c));
      multiply_panel<float, W>(scores_.slice_rows(r, n).columns(0, common), values,
                               to.slice_rows(r, n), resumed, none);
      for (int64_t i = r + 1; i < r + n; ++i) {
        const int64_t more = visible(i, key, count) - common;
        if (more == 0) continue;
        multiply_panel<float, W>(scores_.slice_rows(i, 1).columns(common, more),
                                 values + common * kPanel, to.slice_rows(i, 1), resumed, none);
      }
    }
  }

  const CausalAttention& in_;
  const CachedHead& head_;
  int64_t group_, first_head_, first_, rows_;
  MatView<float> scores_, weighed_, queries_;
  float most_[kQueryRows];
  double sum_[kQueryRows];
};

}  // namespace

int64_t CausalScratchFloats(int64_t width) {
  return CausalLayout(width).end + kPanel;  // some of it to reach a multiple of 64 bytes
}

int64_t CausalParts(const CausalAttention& in) {
  const int64_t rows = in.q.rows * (in.heads / in.key_heads);
  return (rows + kQueryRows - 1) / kQueryRows * in.key_heads;
}

int64_t CachedValues(int64_t capacity, int64_t width) { return capacity * whole_panels(width); }

void CacheRowsKernel(const CachedHead& head, int64_t first, MatView<const float> k,
                     MatView<const float> v) {
  switch (head.form) {
    case CacheForm::f32:
      return write_rows<float>(head, first, k, v);
    case CacheForm::bf16:
      return write_rows<uint16_t>(head, first, k, v);
    case CacheForm::int8:
      return write_rows<int8_t>(head, first, k, v);
  }
}

void CausalAttentionKernel(const CausalAttention& in, int64_t part, float* scratch) {
  float* memory = aligned(scratch);
  switch (in.cache->form) {
    case CacheForm::f32:
      return QueryRows<float>(in, part, memory).run();
    case CacheForm::bf16:
      return QueryRows<uint16_t>(in, part, memory).run();
    case CacheForm::int8:
      return QueryRows<int8_t>(in, part, memory).run();
  }
}

/// Row by row and head by head; one pair a lane.
void RopeKernel(MatView<float> x, int64_t head_width, MatView<const float> table) {
  const D d;
  const int64_t pairs = table.cols / 2;
  for (int64_t r = 0; r < x.rows; ++r) {
    const float *cosines = table.row(r), *sines = cosines + pairs;
    for (int64_t head = 0; head < x.cols; head += head_width) {
      float *left = x.row(r) + head, *right = left + pairs;
      for (int64_t i = 0; i < pairs; i += kLanes) {
        const auto count = static_cast<size_t>(std::min(kLanes, pairs - i));
        const V a = load_n(d, left + i, count), b = load_n(d, right + i, count);
        const V c = load_n(d, cosines + i, count), s = load_n(d, sines + i, count);
        store_n(hn::NegMulAdd(b, s, hn::Mul(a, c)), d, left + i, count);
        store_n(hn::MulAdd(a, s, hn::Mul(b, c)), d, right + i, count);
      }
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace scute
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace scute {

HWY_EXPORT(CacheRowsKernel);
HWY_EXPORT(CausalAttentionKernel);
HWY_EXPORT(RopeKernel);

void rope_frequencies(double theta, int64_t rotated, double* frequencies) noexcept {
  for (int64_t i = 0; i < rotated / 2; ++i) {
    frequencies[i] =
        portable::pow(theta, -static_cast<double>(2 * i) / static_cast<double>(rotated));
  }
}

void rope_table(const double* frequencies, int64_t position, MatView<float> table) noexcept {
  const int64_t pairs = table.cols / 2;
  for (int64_t r = 0; r < table.rows; ++r) {
    for (int64_t i = 0; i < pairs; ++i) {
      const double angle = static_cast<double>(position + r) * frequencies[i];
      table.row(r)[i] = static_cast<float>(portable::cos(angle));
      table.row(r)[pairs + i] = static_cast<float>(portable::sin(angle));
    }
  }
}

void rope(MatView<float> x, int64_t head_width, MatView<const float> table) noexcept {
  HWY_DYNAMIC_DISPATCH(RopeKernel)(x, head_width, table);
}

// The three sizes are the same on every target.
int64_t cached_values(int64_t capacity, int64_t width) noexcept {
  return HWY_STATIC_DISPATCH(CachedValues)(capacity, width);
}

int64_t causal_attention_parts(const CausalAttention& in) noexcept {
  return HWY_STATIC_DISPATCH(CausalParts)(in);
}

int64_t causal_attention_scratch(int64_t width) noexcept {
  return HWY_STATIC_DISPATCH(CausalScratchFloats)(width);
}

void cache_rows(const CachedHead& head, int64_t first, MatView<const float> k,
                MatView<const float> v) noexcept {
  HWY_DYNAMIC_DISPATCH(CacheRowsKernel)(head, first, k, v);
}

void causal_attention(const CausalAttention& in, int64_t part, float* scratch) noexcept {
  HWY_DYNAMIC_DISPATCH(CausalAttentionKernel)(in, part, scratch);
}

}  // namespace scute
#endif  // HWY_ONCE
