#include "scute/kernels/conv_int8.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "scute/kernels/conv_int8.cc"
#include "hwy/foreach_target.h"
// After foreach_target.h.
#include "hwy/highway.h"
#include "scute/kernels/math-inl.h"

HWY_BEFORE_NAMESPACE();
namespace scute {
namespace HWY_NAMESPACE {
namespace {

using D = hn::CappedTag<float, 16>;
using V = hn::Vec<D>;

HWY_INLINE V widened(const int8_t* from, size_t count) {
  const hn::Rebind<int8_t, D> codes;
  const hn::Rebind<int32_t, D> words;
  return hn::ConvertTo(D(), hn::PromoteTo(words, load_n(codes, from, count)));
}

/// Calls act(c, count) for each vector of channels.
template <class Act>
HWY_INLINE void each_vector(int64_t channels, const Act& act) {
  const auto lanes = static_cast<int64_t>(hn::Lanes(D()));
  int64_t c = 0;
  for (; c + lanes <= channels; c += lanes) act(c, static_cast<size_t>(lanes));
  if (c < channels) act(c, static_cast<size_t>(channels - c));
}

// Floats hold every sum exactly, 64 · 128² = 2^20 at most, and multiply faster than int32; so a sum
// may be formed in any order.

/// Four taps, the usual number: each weight is widened once for all rows, each input for the four
/// sums that it is part of.
void convolve_four(MatView<const int8_t> x, MatView<const int8_t> weight, const float* scale,
                   const float* bias, MatView<float> y) {
  each_vector(x.cols, [&](int64_t c, size_t count) HWY_ATTR {
    const D d;
    const auto input = [&](int64_t r) HWY_ATTR { return widened(x.row(r) + c, count); };
    const V w0 = widened(weight.row(0) + c, count), w1 = widened(weight.row(1) + c, count),
            w2 = widened(weight.row(2) + c, count), w3 = widened(weight.row(3) + c, count),
            factor = load_n(d, scale + c, count),
            offset = bias == nullptr ? hn::Zero(d) : load_n(d, bias + c, count);
    V x0 = input(0), x1 = input(1), x2 = input(2);
    for (int64_t t = 0; t < y.rows; ++t) {
      const V x3 = input(t + 3);
      const V sum = hn::MulAdd(w0, x0, hn::MulAdd(w1, x1, hn::MulAdd(w2, x2, hn::Mul(w3, x3))));
      store_n(silu(d, hn::MulAdd(factor, sum, offset)), d, y.row(t) + c, count);
      x0 = x1;
      x1 = x2;
      x2 = x3;
    }
  });
}

/// Row t of y.
void convolve_row(MatView<const int8_t> x, MatView<const int8_t> weight, const float* scale,
                  const float* bias, int64_t t, float* y) {
  each_vector(x.cols, [&](int64_t c, size_t count) HWY_ATTR {
    const D d;
    V sum = hn::Zero(d);
    for (int64_t k = 0; k < weight.rows; ++k) {
      const V w = widened(weight.row(k) + c, count);
      sum = hn::MulAdd(w, widened(x.row(t + k) + c, count), sum);
    }
    const V offset = bias == nullptr ? hn::Zero(d) : load_n(d, bias + c, count);
    const V value = hn::MulAdd(load_n(d, scale + c, count), sum, offset);
    store_n(silu(d, value), d, y + c, count);
  });
}

}  // namespace

void CausalConvSiluInt8Kernel(MatView<const int8_t> x, MatView<const int8_t> weight,
                              const float* scale, const float* bias, MatView<float> y) {
  if (weight.rows == 4 && y.rows > 0) return convolve_four(x, weight, scale, bias, y);
  for (int64_t t = 0; t < y.rows; ++t) convolve_row(x, weight, scale, bias, t, y.row(t));
}

}  // namespace HWY_NAMESPACE
}  // namespace scute
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace scute {

HWY_EXPORT(CausalConvSiluInt8Kernel);

void causal_conv_silu_int8(MatView<const int8_t> x, const int8_t* weight, const float* scale,
                           const float* bias, int64_t taps, MatView<float> y) noexcept {
  causal_conv_silu_int8(x, weight, scale, bias, taps, 0, x.cols, y);
}

void causal_conv_silu_int8(MatView<const int8_t> x, const int8_t* weight, const float* scale,
                           const float* bias, int64_t taps, int64_t first, int64_t count,
                           MatView<float> y) noexcept {
  const MatView<const int8_t> weights(weight, taps, x.cols);
  HWY_DYNAMIC_DISPATCH(CausalConvSiluInt8Kernel)
  (x.columns(first, count), weights.columns(first, count), scale + first,
   bias == nullptr ? bias : bias + first, y.columns(first, count));
}

}  // namespace scute
#endif  // HWY_ONCE
