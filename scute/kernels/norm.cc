#include <cmath>

#include "scute/kernels/elementwise.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "scute/kernels/norm.cc"
#include "hwy/foreach_target.h"
// After foreach_target.h.
#include "hwy/highway.h"
#include "scute/kernels/math-inl.h"

HWY_BEFORE_NAMESPACE();
namespace scute {
namespace HWY_NAMESPACE {
namespace {

/// Σ x² in double lanes: exact to 1e-12 and without overflow for any float.
double sum_of_squares(const float* x, size_t n) {
  const hn::ScalableTag<double> d;
  const hn::Rebind<float, decltype(d)> df;
  const size_t lanes = hn::Lanes(d);
  auto sum0 = hn::Zero(d), sum1 = hn::Zero(d);
  size_t i = 0;
  for (; i + 2 * lanes <= n; i += 2 * lanes) {
    const auto a = hn::PromoteTo(d, hn::LoadU(df, x + i));
    const auto b = hn::PromoteTo(d, hn::LoadU(df, x + i + lanes));
    sum0 = hn::MulAdd(a, a, sum0);
    sum1 = hn::MulAdd(b, b, sum1);
  }
  for (; i < n; i += lanes) {
    const auto a = hn::PromoteTo(d, load_n(df, x + i, HWY_MIN(lanes, n - i)));
    sum0 = hn::MulAdd(a, a, sum0);
  }
  return hn::GetLane(hn::SumOfLanes(d, hn::Add(sum0, sum1)));
}

/// y = x · factor · weight (weight may be null).
void scale(const float* x, float factor, const float* weight, size_t n, float* y) {
  const hn::ScalableTag<float> d;
  const size_t lanes = hn::Lanes(d);
  const auto by = hn::Set(d, factor);
  for (size_t i = 0; i < n; i += lanes) {
    const size_t count = HWY_MIN(lanes, n - i);
    auto v = hn::Mul(load_n(d, x + i, count), by);
    if (weight != nullptr) v = hn::Mul(v, load_n(d, weight + i, count));
    store_n(v, d, y + i, count);
  }
}

}  // namespace

void RmsNormKernel(MatView<const float> x, const float* weight, int64_t group, float eps,
                   MatView<float> y) {
  const auto n = static_cast<size_t>(group);
  for (int64_t r = 0; r < x.rows; ++r) {
    for (int64_t c = 0; c + group <= x.cols; c += group) {
      const double mean = sum_of_squares(x.row(r) + c, n) / static_cast<double>(group);
      const auto factor = static_cast<float>(1.0 / std::sqrt(mean + static_cast<double>(eps)));
      scale(x.row(r) + c, factor, weight == nullptr ? nullptr : weight + c, n, y.row(r) + c);
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace scute
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace scute {

HWY_EXPORT(RmsNormKernel);

void rms_norm(MatView<const float> x, const float* weight, int64_t group, float eps,
              MatView<float> y) noexcept {
  HWY_DYNAMIC_DISPATCH(RmsNormKernel)(x, weight, group, eps, y);
}

}  // namespace scute
#endif  // HWY_ONCE
