#include "scute/kernels/elementwise.h"

#include <cmath>
#include <limits>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "scute/kernels/elementwise.cc"
#include "hwy/foreach_target.h"
// After foreach_target.h.
#include "hwy/highway.h"
#include "scute/base/portable_math.h"
#include "scute/kernels/math-inl.h"

HWY_BEFORE_NAMESPACE();
namespace scute {
namespace HWY_NAMESPACE {
namespace {

using Floats = hn::ScalableTag<float>;

/// The largest element; NaN is ignored, −∞ when nothing is left. Four maxima at a time: one alone
/// waits for itself.
float largest(const float* x, size_t n) {
  const Floats d;
  const size_t lanes = hn::Lanes(d);
  const auto none = hn::Set(d, -std::numeric_limits<float>::infinity());
  auto most0 = none, most1 = none, most2 = none, most3 = none;
  const auto larger = [&](size_t at, auto most) HWY_ATTR {
    const auto v = hn::LoadU(d, x + at);
    return hn::IfThenElse(hn::Gt(v, most), v, most);
  };
  size_t i = 0;
  for (; i + 4 * lanes <= n; i += 4 * lanes) {
    most0 = larger(i, most0);
    most1 = larger(i + lanes, most1);
    most2 = larger(i + 2 * lanes, most2);
    most3 = larger(i + 3 * lanes, most3);
  }
  const auto most = hn::Max(hn::Max(most0, most1), hn::Max(most2, most3));
  float result = hn::GetLane(hn::MaxOfLanes(d, most));
  for (; i < n; ++i) result = x[i] > result ? x[i] : result;
  return result;
}

/// Index of the first element equal to `value`, n when there is none.
size_t find(const float* x, size_t n, float value) {
  const Floats d;
  const size_t lanes = hn::Lanes(d);
  const auto wanted = hn::Set(d, value);
  size_t i = 0;
  for (; i + lanes <= n; i += lanes) {
    const intptr_t at = hn::FindFirstTrue(d, hn::Eq(hn::LoadU(d, x + i), wanted));
    if (at >= 0) return i + static_cast<size_t>(at);
  }
  while (i < n && !(x[i] == value)) ++i;
  return i;
}

}  // namespace

void GateSiluKernel(MatView<const float> x, MatView<const float> z, MatView<float> y) {
  const Floats d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  for (int64_t r = 0; r < x.rows; ++r) {
    for (int64_t c = 0; c < x.cols; c += lanes) {
      const auto count = static_cast<size_t>(HWY_MIN(lanes, x.cols - c));
      const auto gate = silu(d, load_n(d, z.row(r) + c, count));
      store_n(hn::Mul(load_n(d, x.row(r) + c, count), gate), d, y.row(r) + c, count);
    }
  }
}

void AddIntoKernel(MatView<float> x, MatView<const float> y) {
  const Floats d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  for (int64_t r = 0; r < x.rows; ++r) {
    for (int64_t c = 0; c < x.cols; c += lanes) {
      const auto count = static_cast<size_t>(HWY_MIN(lanes, x.cols - c));
      const auto added = load_n(d, y.row(r) + c, count);
      store_n(hn::Add(load_n(d, x.row(r) + c, count), added), d, x.row(r) + c, count);
    }
  }
}

void MultiplyColumnsKernel(MatView<float> x, const float* factors) {
  const Floats d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  for (int64_t r = 0; r < x.rows; ++r) {
    for (int64_t c = 0; c < x.cols; c += lanes) {
      const auto count = static_cast<size_t>(HWY_MIN(lanes, x.cols - c));
      const auto factor = load_n(d, factors + c, count);
      store_n(hn::Mul(load_n(d, x.row(r) + c, count), factor), d, x.row(r) + c, count);
    }
  }
}

void ClampKernel(MatView<float> x, float lo, float hi) {
  const Floats d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  const auto least = hn::Set(d, lo), most = hn::Set(d, hi);
  for (int64_t r = 0; r < x.rows; ++r) {
    for (int64_t c = 0; c < x.cols; c += lanes) {
      const auto count = static_cast<size_t>(HWY_MIN(lanes, x.cols - c));
      auto v = load_n(d, x.row(r) + c, count);
      // Comparisons, because Min and Max would turn NaN into a bound.
      v = hn::IfThenElse(hn::Lt(v, least), least, v);
      store_n(hn::IfThenElse(hn::Gt(v, most), most, v), d, x.row(r) + c, count);
    }
  }
}

double LogSumExpKernel(const float* x, int64_t n) {
  const Floats all;
  const hn::ScalableTag<double> d;
  const hn::Rebind<float, decltype(d)> df;  // as many floats as one vector has doubles
  const size_t lanes = hn::Lanes(d), count = static_cast<size_t>(n);
  const float most = largest(x, count);
  // Subtracting an infinite maximum would make NaN; without it the sum is 0 or infinite, as it is
  // meant to be. A NaN among the elements stays one.
  const float shift = std::isfinite(most) ? most : 0.0f;
  auto sum = hn::Zero(d);
  size_t i = 0;
  // Exponentials of whole vectors, added in the order of half ones.
  HWY_ALIGN float powers[hn::MaxLanes(all)];
  for (; i + hn::Lanes(all) <= count; i += hn::Lanes(all)) {
    hn::Store(exp_any(all, hn::Sub(hn::LoadU(all, x + i), hn::Set(all, shift))), all, powers);
    for (size_t k = 0; k < hn::Lanes(all); k += lanes) {
      sum = hn::Add(sum, hn::PromoteTo(d, hn::Load(df, powers + k)));
    }
  }
  for (; i < count; i += lanes) {
    HWY_ALIGN float rest[hn::MaxLanes(df)];
    for (size_t k = 0; k < lanes; ++k) {
      rest[k] = i + k < count ? x[i + k] : -std::numeric_limits<float>::infinity();
    }
    const auto e = exp_any(df, hn::Sub(hn::Load(df, rest), hn::Set(df, shift)));
    sum = hn::Add(sum, hn::PromoteTo(d, e));
  }
  return static_cast<double>(shift) + portable::log(hn::GetLane(hn::SumOfLanes(d, sum)));
}

int64_t ArgmaxKernel(const float* x, int64_t n) {
  const auto count = static_cast<size_t>(n);
  const size_t at = find(x, count, largest(x, count));
  return at < count ? static_cast<int64_t>(at) : 0;  // nothing but NaN
}

}  // namespace HWY_NAMESPACE
}  // namespace scute
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace scute {

HWY_EXPORT(GateSiluKernel);
HWY_EXPORT(AddIntoKernel);
HWY_EXPORT(MultiplyColumnsKernel);
HWY_EXPORT(ClampKernel);
HWY_EXPORT(LogSumExpKernel);
HWY_EXPORT(ArgmaxKernel);

void gate_silu(MatView<const float> x, MatView<const float> z, MatView<float> y) noexcept {
  HWY_DYNAMIC_DISPATCH(GateSiluKernel)(x, z, y);
}

void add_into(MatView<float> x, MatView<const float> y) noexcept {
  HWY_DYNAMIC_DISPATCH(AddIntoKernel)(x, y);
}

void multiply_columns(MatView<float> x, const float* factors) noexcept {
  HWY_DYNAMIC_DISPATCH(MultiplyColumnsKernel)(x, factors);
}

void clamp(MatView<float> x, float lo, float hi) noexcept {
  HWY_DYNAMIC_DISPATCH(ClampKernel)(x, lo, hi);
}

void copy_rows(MatView<const float> x, MatView<float> y) noexcept {
  if (x.cols == 0) return;  // memcpy must not see a null pointer
  for (int64_t r = 0; r < x.rows; ++r) {
    std::memcpy(y.row(r), x.row(r), static_cast<size_t>(x.cols) * sizeof(float));
  }
}

double log_sum_exp(const float* x, int64_t n) noexcept {
  return HWY_DYNAMIC_DISPATCH(LogSumExpKernel)(x, n);
}

int64_t argmax(const float* x, int64_t n) noexcept {
  return HWY_DYNAMIC_DISPATCH(ArgmaxKernel)(x, n);
}

}  // namespace scute
#endif  // HWY_ONCE
