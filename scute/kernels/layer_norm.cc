#include <cmath>

#include "scute/kernels/attention.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "scute/kernels/layer_norm.cc"
#include "hwy/foreach_target.h"
// After foreach_target.h.
#include "hwy/highway.h"
#include "scute/kernels/math-inl.h"

HWY_BEFORE_NAMESPACE();
namespace scute {
namespace HWY_NAMESPACE {
namespace {

using Doubles = hn::ScalableTag<double>;
using AsManyFloats = hn::Rebind<float, Doubles>;
using Floats = hn::ScalableTag<float>;

/// Σ f(x) in double lanes, the values past the end left out; f(vector of doubles) → another.
template <class F>
HWY_INLINE double sum_of(const float* x, size_t n, const F& f) {
  const Doubles d;
  const AsManyFloats floats;
  const size_t lanes = hn::Lanes(d);
  auto sum0 = hn::Zero(d), sum1 = hn::Zero(d);
  size_t i = 0;
  for (; i + 2 * lanes <= n; i += 2 * lanes) {
    sum0 = hn::Add(sum0, f(hn::PromoteTo(d, hn::LoadU(floats, x + i))));
    sum1 = hn::Add(sum1, f(hn::PromoteTo(d, hn::LoadU(floats, x + i + lanes))));
  }
  for (; i < n; i += lanes) {
    const size_t count = HWY_MIN(lanes, n - i);
    const auto term = f(hn::PromoteTo(d, load_n(floats, x + i, count)));
    sum0 = hn::Add(sum0, hn::IfThenElseZero(hn::FirstN(d, count), term));
  }
  return hn::GetLane(hn::SumOfLanes(d, hn::Add(sum0, sum1)));
}

void normalize(const float* x, const float* weight, const float* bias, double eps, size_t n,
               float* y) {
  const Doubles d;
  const AsManyFloats floats;
  const size_t lanes = hn::Lanes(d);
  const auto count_of_all = static_cast<double>(n);
  const double mean = sum_of(x, n, [](auto v) { return v; }) / count_of_all;
  const auto mean_lanes = hn::Set(d, mean);
  const double squares = sum_of(x, n, [mean_lanes](auto v) {
    const auto off = hn::Sub(v, mean_lanes);
    return hn::Mul(off, off);
  });
  const auto factor = hn::Set(d, 1.0 / std::sqrt(squares / count_of_all + eps));
  for (size_t i = 0; i < n; i += lanes) {
    const size_t count = HWY_MIN(lanes, n - i);
    // In double, or a mean far from zero would leave nothing of x − mean.
    const auto off = hn::Sub(hn::PromoteTo(d, load_n(floats, x + i, count)), mean_lanes);
    const auto normal = hn::DemoteTo(floats, hn::Mul(off, factor));
    const auto scaled = hn::Mul(normal, load_n(floats, weight + i, count));
    store_n(hn::Add(scaled, load_n(floats, bias + i, count)), floats, y + i, count);
  }
}

}  // namespace

void LayerNormKernel(MatView<const float> x, const float* weight, const float* bias, float eps,
                     MatView<float> y) {
  const auto n = static_cast<size_t>(x.cols);
  for (int64_t r = 0; r < x.rows; ++r) {
    normalize(x.row(r), weight, bias, static_cast<double>(eps), n, y.row(r));
  }
}

void AddRowKernel(MatView<float> x, const float* bias) {
  const Floats d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  for (int64_t r = 0; r < x.rows; ++r) {
    for (int64_t c = 0; c < x.cols; c += lanes) {
      const auto count = static_cast<size_t>(HWY_MIN(lanes, x.cols - c));
      const auto sum = hn::Add(load_n(d, x.row(r) + c, count), load_n(d, bias + c, count));
      store_n(sum, d, x.row(r) + c, count);
    }
  }
}

void AddScaledKernel(MatView<float> x, MatView<const float> y, const float* factors) {
  const Floats d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  for (int64_t r = 0; r < x.rows; ++r) {
    for (int64_t c = 0; c < x.cols; c += lanes) {
      const auto count = static_cast<size_t>(HWY_MIN(lanes, x.cols - c));
      auto added = load_n(d, y.row(r) + c, count);
      if (factors != nullptr) added = hn::Mul(added, load_n(d, factors + c, count));
      store_n(hn::Add(load_n(d, x.row(r) + c, count), added), d, x.row(r) + c, count);
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace scute
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace scute {

HWY_EXPORT(LayerNormKernel);
HWY_EXPORT(AddRowKernel);
HWY_EXPORT(AddScaledKernel);

void layer_norm(MatView<const float> x, const float* weight, const float* bias, float eps,
                MatView<float> y) noexcept {
  HWY_DYNAMIC_DISPATCH(LayerNormKernel)(x, weight, bias, eps, y);
}

void add_row(MatView<float> x, const float* bias) noexcept {
  HWY_DYNAMIC_DISPATCH(AddRowKernel)(x, bias);
}

void add_scaled(MatView<float> x, MatView<const float> y, const float* factors) noexcept {
  HWY_DYNAMIC_DISPATCH(AddScaledKernel)(x, y, factors);
}

}  // namespace scute
#endif  // HWY_ONCE
