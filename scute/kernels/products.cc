#include "scute/kernels/products.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "scute/kernels/products.cc"
#include "hwy/foreach_target.h"
// After foreach_target.h.
#include "hwy/highway.h"
#include "scute/kernels/math-inl.h"

HWY_BEFORE_NAMESPACE();
namespace scute {
namespace HWY_NAMESPACE {
namespace {

/// x ← f(x, its place) for each vector of a row.
template <class F>
void each_vector(MatView<float> x, const F& f) {
  const hn::ScalableTag<float> d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  for (int64_t r = 0; r < x.rows; ++r) {
    for (int64_t c = 0; c < x.cols; c += lanes) {
      const auto count = static_cast<size_t>(HWY_MIN(lanes, x.cols - c));
      store_n(f(d, load_n(d, x.row(r) + c, count), r, c, count), d, x.row(r) + c, count);
    }
  }
}

}  // namespace

void MultiplyIntoKernel(MatView<float> x, MatView<const float> y) {
  each_vector(x, [&](auto d, auto v, int64_t r, int64_t c, size_t count)
                     HWY_ATTR { return hn::Mul(v, load_n(d, y.row(r) + c, count)); });
}

void MultiplyByKernel(MatView<float> x, float factor) {
  each_vector(x, [&](auto d, auto v, int64_t, int64_t, size_t)
                     HWY_ATTR { return hn::Mul(v, hn::Set(d, factor)); });
}

void SquaredReluKernel(MatView<float> x) {
  each_vector(x, [&](auto d, auto v, int64_t, int64_t, size_t) HWY_ATTR {
    // A comparison, because Max would turn NaN into 0.
    const auto kept = hn::IfThenElse(hn::Lt(v, hn::Zero(d)), hn::Zero(d), v);
    return hn::Mul(kept, kept);
  });
}

}  // namespace HWY_NAMESPACE
}  // namespace scute
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace scute {

HWY_EXPORT(MultiplyIntoKernel);
HWY_EXPORT(MultiplyByKernel);
HWY_EXPORT(SquaredReluKernel);

void multiply_into(MatView<float> x, MatView<const float> y) noexcept {
  HWY_DYNAMIC_DISPATCH(MultiplyIntoKernel)(x, y);
}

void multiply_by(MatView<float> x, float factor) noexcept {
  HWY_DYNAMIC_DISPATCH(MultiplyByKernel)(x, factor);
}

void squared_relu(MatView<float> x) noexcept { HWY_DYNAMIC_DISPATCH(SquaredReluKernel)(x); }

}  // namespace scute
#endif  // HWY_ONCE
