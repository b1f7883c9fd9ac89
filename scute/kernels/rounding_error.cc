#include "scute/kernels/rounding_error.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "scute/kernels/rounding_error.cc"
#include "hwy/foreach_target.h"
// After foreach_target.h.
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace scute {
namespace HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;

/// The squares of the differences of as many weights as D has lanes.
template <class D>
HWY_INLINE hn::Vec<D> squares(D d, const float* weights, float scale) {
  const hn::Rebind<float, D> floats;
  const auto w = hn::LoadU(floats, weights), s = hn::Set(floats, scale);
  const auto code = hn::Min(hn::Max(hn::Div(w, s), hn::Set(floats, -8.0f)), hn::Set(floats, 7.0f));
  const auto magic = hn::Set(floats, 0x1.8p23f);  // nearest, halves to even
  const auto whole = hn::Sub(hn::Add(code, magic), magic);
  const auto difference = hn::PromoteTo(d, hn::Sub(w, hn::Mul(whole, s)));
  return hn::Mul(difference, difference);
}

}  // namespace

double SquaredRoundingErrorKernel(const float* weights, size_t n, float scale) {
  constexpr size_t kSums = 8;
  const hn::CappedTag<double, kSums> d;
  const size_t lanes = hn::Lanes(d);
  HWY_ALIGN double sums[kSums] = {};
  size_t i = 0;
  for (size_t lane = 0; lane < kSums; lane += lanes) {
    auto sum = hn::Zero(d);
    for (i = 0; i + kSums <= n; i += kSums) {
      sum = hn::Add(sum, squares(d, weights + i + lane, scale));
    }
    hn::Store(sum, d, sums + lane);
  }
  double sum = 0;
  for (const double s : sums) sum += s;
  const hn::CappedTag<double, 1> one;
  for (; i < n; ++i) sum += hn::GetLane(squares(one, weights + i, scale));
  return sum;
}

}  // namespace HWY_NAMESPACE
}  // namespace scute
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace scute {

HWY_EXPORT(SquaredRoundingErrorKernel);

double squared_rounding_error(std::span<const float> weights, float scale) noexcept {
  return HWY_DYNAMIC_DISPATCH(SquaredRoundingErrorKernel)(weights.data(), weights.size(), scale);
}

}  // namespace scute
#endif  // HWY_ONCE
