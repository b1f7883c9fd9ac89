#include "scute/kernels/windows.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "scute/kernels/windows.cc"
#include "hwy/foreach_target.h"
// After foreach_target.h.
#include "hwy/highway.h"
#include "scute/kernels/math-inl.h"

HWY_BEFORE_NAMESPACE();
namespace scute {
namespace HWY_NAMESPACE {

namespace {

using Floats = hn::ScalableTag<float>;

/// Row l of the window x.
void convolve_row(const WindowConv& conv, MatView<const float> x, int64_t l, float* y) {
  const Floats d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  const int64_t first = HWY_MAX(int64_t{0}, conv.before - l);
  const int64_t end = HWY_MIN(conv.taps, x.rows + conv.before - l);
  for (int64_t c = 0; c < x.cols; c += lanes) {
    const auto count = static_cast<size_t>(HWY_MIN(lanes, x.cols - c));
    auto sum = load_n(d, conv.bias + c, count);
    for (int64_t k = first; k < end; ++k) {
      const auto w = load_n(d, conv.weight + k * x.cols + c, count);
      sum = hn::MulAdd(w, load_n(d, x.row(l + k - conv.before) + c, count), sum);
    }
    store_n(silu(d, sum), d, y + c, count);
  }
}

}  // namespace

void SiluKernel(MatView<const float> x, MatView<float> y) {
  const Floats d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  for (int64_t r = 0; r < x.rows; ++r) {
    for (int64_t c = 0; c < x.cols; c += lanes) {
      const auto count = static_cast<size_t>(HWY_MIN(lanes, x.cols - c));
      store_n(silu(d, load_n(d, x.row(r) + c, count)), d, y.row(r) + c, count);
    }
  }
}

void WindowConvSiluKernel(const WindowConv& conv, MatView<const float> x, int64_t length,
                          MatView<float> y) {
  for (int64_t r = 0; r < x.rows; r += length) {
    const auto window = x.slice_rows(r, length);
    for (int64_t l = 0; l < length; ++l) convolve_row(conv, window, l, y.row(r + l));
  }
}

void WindowMeanScanKernel(MatView<const float> x, MatView<const float> logit, int64_t length,
                          MatView<float> y) {
  const Floats d;
  const auto one = hn::Set(d, 1.0f);
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  for (int64_t first = 0; first < x.rows; first += length) {
    for (int64_t c = 0; c < x.cols; c += lanes) {
      const auto count = static_cast<size_t>(HWY_MIN(lanes, x.cols - c));
      auto s = hn::Zero(d);
      for (int64_t r = first; r < first + length; ++r) {
        const auto u = load_n(d, x.row(r) + c, count);
        const auto a = load_n(d, logit.row(r) + c, count);
        const auto leak = hn::Div(one, hn::Add(one, exp_any(d, hn::Neg(a))));
        s = hn::MulAdd(leak, s, hn::Mul(hn::Sub(one, leak), u));
        store_n(s, d, y.row(r) + c, count);
      }
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace scute
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace scute {

HWY_EXPORT(SiluKernel);
HWY_EXPORT(WindowConvSiluKernel);
HWY_EXPORT(WindowMeanScanKernel);

void silu(MatView<const float> x, MatView<float> y) noexcept {
  HWY_DYNAMIC_DISPATCH(SiluKernel)(x, y);
}

void window_conv_silu(const WindowConv& conv, MatView<const float> x, int64_t length,
                      MatView<float> y) noexcept {
  HWY_DYNAMIC_DISPATCH(WindowConvSiluKernel)(conv, x, length, y);
}

void window_mean_scan(MatView<const float> x, MatView<const float> logit, int64_t length,
                      MatView<float> y) noexcept {
  HWY_DYNAMIC_DISPATCH(WindowMeanScanKernel)(x, logit, length, y);
}

}  // namespace scute
#endif  // HWY_ONCE
