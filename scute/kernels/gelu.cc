#include "scute/kernels/attention.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "scute/kernels/gelu.cc"
#include "hwy/foreach_target.h"
// After foreach_target.h.
#include "hwy/highway.h"
#include "scute/kernels/math-inl.h"

HWY_BEFORE_NAMESPACE();
namespace scute {
namespace HWY_NAMESPACE {
namespace {

/// Φ(−a) for a ≥ 0: e^(−a²/2) · t·P(t) with t = 1/(1 + 0.296·a), which maps [0, ∞) to (0, 1].
/// P is the polynomial of degree 7 nearest to e^(a²/2)·Φ(−a)/t on 0 ≤ a ≤ 13.3 (beyond, e^(−a²/2)
/// is below 2^−126 and taken as 0): relative error 2.0e-8 · (1 + a²/4), by Remez exchange, of all
/// 0.296 the best place for the pole. The rest is rounding, most of it that of a² ahead of the
/// exponential. All in all (4.5 + 1.25·a²) · 2^−23, measured with every instruction set.
template <class D, class V>
HWY_INLINE V upper_tail(D d, V a) {
  const V one = hn::Set(d, 1.0f);
  const V t = hn::Div(one, hn::MulAdd(a, hn::Set(d, 0.296f), one));
  V p = hn::Set(d, 0.0373572558f);
  p = hn::MulAdd(p, t, hn::Set(d, -0.171295941f));
  p = hn::MulAdd(p, t, hn::Set(d, 0.242816225f));
  p = hn::MulAdd(p, t, hn::Set(d, -0.0858173445f));
  p = hn::MulAdd(p, t, hn::Set(d, 0.145258844f));
  p = hn::MulAdd(p, t, hn::Set(d, 0.0937705934f));
  p = hn::MulAdd(p, t, hn::Set(d, 0.119925112f));
  p = hn::MulAdd(p, t, hn::Set(d, 0.117985271f));
  const V half_log2_e = hn::Set(d, -0.72134752f);
  const V e = exp2_decay(d, hn::Mul(hn::Mul(a, a), half_log2_e));
  return hn::Mul(e, hn::Mul(t, p));
}

}  // namespace

void GeluKernel(MatView<float> x) {
  const hn::ScalableTag<float> d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  const auto one = hn::Set(d, 1.0f);
  for (int64_t r = 0; r < x.rows; ++r) {
    for (int64_t c = 0; c < x.cols; c += lanes) {
      const auto count = static_cast<size_t>(HWY_MIN(lanes, x.cols - c));
      const auto v = load_n(d, x.row(r) + c, count);
      const auto tail =
          upper_tail(d, hn::Abs(v));  // for NaN anything: the last product restores it
      const auto share = hn::IfThenElse(hn::Lt(v, hn::Zero(d)), tail, hn::Sub(one, tail));
      store_n(hn::Mul(v, share), d, x.row(r) + c, count);
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace scute
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace scute {

HWY_EXPORT(GeluKernel);

void gelu(MatView<float> x) noexcept { HWY_DYNAMIC_DISPATCH(GeluKernel)(x); }

}  // namespace scute
#endif  // HWY_ONCE
