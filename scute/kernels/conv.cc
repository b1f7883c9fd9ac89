#include "scute/kernels/elementwise.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "scute/kernels/conv.cc"
#include "hwy/foreach_target.h"
// After foreach_target.h.
#include "hwy/highway.h"
#include "scute/kernels/math-inl.h"

HWY_BEFORE_NAMESPACE();
namespace scute {
namespace HWY_NAMESPACE {
namespace {

/// What follows the sums.
struct WithSilu {
  template <class D, class V>
  V operator()(D d, V sum) const {
    return silu(d, sum);
  }
};
struct Plain {
  template <class D, class V>
  V operator()(D, V sum) const {
    return sum;
  }
};

/// Row t of y. The taps are summed oldest first, wherever their rows come from, so that cutting a
/// sequence does not change a bit.
template <class Activation>
void convolve_row(MatView<const float> x, MatView<const float> weight, const float* bias,
                  MatView<const float> cache, int64_t t, float* y) {
  const hn::ScalableTag<float> d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  const int64_t taps = weight.rows, before = taps - 1, cached = HWY_MAX(int64_t{0}, before - t);
  for (int64_t c = 0; c < x.cols; c += lanes) {
    const auto count = static_cast<size_t>(HWY_MIN(lanes, x.cols - c));
    auto sum = bias == nullptr ? hn::Zero(d) : load_n(d, bias + c, count);
    for (int64_t k = 0; k < cached; ++k) {
      const auto w = load_n(d, weight.row(k) + c, count);
      sum = hn::MulAdd(w, load_n(d, cache.row(t + k) + c, count), sum);
    }
    for (int64_t k = cached; k < taps; ++k) {
      const auto w = load_n(d, weight.row(k) + c, count);
      sum = hn::MulAdd(w, load_n(d, x.row(t + k - before) + c, count), sum);
    }
    store_n(Activation()(d, sum), d, y + c, count);
  }
}

/// The last rows of (cache, x), oldest first.
void update_cache(MatView<const float> x, MatView<float> cache) {
  const size_t bytes = static_cast<size_t>(x.cols) * sizeof(float);
  for (int64_t r = 0; r < cache.rows; ++r) {
    const int64_t from = r + x.rows;  // in (cache, x)
    const float* row = from < cache.rows ? cache.row(from) : x.row(from - cache.rows);
    std::memcpy(cache.row(r), row, bytes);
  }
}

template <class Activation>
void convolve(MatView<const float> x, MatView<const float> weight, const float* bias,
              MatView<float> cache, MatView<float> y) {
  for (int64_t t = 0; t < x.rows; ++t) {
    convolve_row<Activation>(x, weight, bias, cache, t, y.row(t));
  }
  if (x.rows > 0 && x.cols > 0) update_cache(x, cache);
}

}  // namespace

void CausalConvSiluKernel(MatView<const float> x, MatView<const float> weight, const float* bias,
                          MatView<float> cache, MatView<float> y) {
  convolve<WithSilu>(x, weight, bias, cache, y);
}

void CausalConvKernel(MatView<const float> x, MatView<const float> weight, const float* bias,
                      MatView<float> cache, MatView<float> y) {
  convolve<Plain>(x, weight, bias, cache, y);
}

}  // namespace HWY_NAMESPACE
}  // namespace scute
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace scute {

HWY_EXPORT(CausalConvSiluKernel);
HWY_EXPORT(CausalConvKernel);

void causal_conv_silu(MatView<const float> x, const float* weight, const float* bias, int64_t taps,
                      MatView<float> cache, MatView<float> y) noexcept {
  causal_conv_silu(x, weight, bias, taps, 0, x.cols, cache, y);
}

void causal_conv_silu(MatView<const float> x, const float* weight, const float* bias, int64_t taps,
                      int64_t first, int64_t count, MatView<float> cache,
                      MatView<float> y) noexcept {
  const MatView<const float> weights(weight, taps, x.cols);
  HWY_DYNAMIC_DISPATCH(CausalConvSiluKernel)
  (x.columns(first, count), weights.columns(first, count), bias == nullptr ? bias : bias + first,
   taps == 1 ? cache : cache.columns(first, count), y.columns(first, count));
}

void causal_conv(MatView<const float> x, const float* weight, const float* bias, int64_t taps,
                 int64_t first, int64_t count, MatView<float> cache, MatView<float> y) noexcept {
  const MatView<const float> weights(weight, taps, x.cols);
  HWY_DYNAMIC_DISPATCH(CausalConvKernel)
  (x.columns(first, count), weights.columns(first, count), bias == nullptr ? bias : bias + first,
   taps == 1 ? cache : cache.columns(first, count), y.columns(first, count));
}

}  // namespace scute
#endif  // HWY_ONCE
