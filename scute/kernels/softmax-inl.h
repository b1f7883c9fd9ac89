// The softmax of attention's scores, and how they lie in memory; included once per instruction set.
#if defined(SCUTE_KERNELS_SOFTMAX_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef SCUTE_KERNELS_SOFTMAX_INL_H_
#undef SCUTE_KERNELS_SOFTMAX_INL_H_
#else
#define SCUTE_KERNELS_SOFTMAX_INL_H_
#endif

#include <algorithm>
#include <cstdint>

#include "hwy/highway.h"
// After highway.h.
#include "scute/kernels/gemm_block-inl.h"
#include "scute/kernels/math-inl.h"

HWY_BEFORE_NAMESPACE();
namespace scute {
namespace HWY_NAMESPACE {
namespace {

// Scores of two queries are this much more than whole panels apart, so that with 1024 keys those of
// a register block do not fall into one set of the first-level cache.
constexpr int64_t kGap = 16;

/// The first multiple of 64 bytes in scratch memory: less than kPanel floats further on.
HWY_INLINE float* aligned(float* scratch) {
  const auto misplaced = static_cast<int64_t>(reinterpret_cast<uintptr_t>(scratch) / 4 % 16);
  return scratch + (16 - misplaced) % 16;
}
HWY_INLINE int64_t whole_panels(int64_t n) { return (n + kPanel - 1) / kPanel * kPanel; }

HWY_INLINE float largest_score(const float* x, int64_t n) {
  const D d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  V most = hn::LoadU(d, x);
  for (int64_t i = lanes; i < n; i += lanes) most = hn::Max(hn::LoadU(d, x + i), most);
  return hn::GetLane(hn::MaxOfLanes(d, most));
}

/// x ← e^(x − most), lane by lane. What lies 87.3 below the largest becomes 0; NaN stays NaN.
HWY_INLINE void exponentials(float* x, int64_t n, float most) {
  const D d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  const V offset = hn::Set(d, most), log2_e = hn::Set(d, 1.44269504f);
  for (int64_t i = 0; i < n; i += lanes) {
    const V power = hn::Mul(hn::Sub(hn::LoadU(d, x + i), offset), log2_e);
    hn::StoreU(exp2_decay(d, power), d, x + i);
  }
}

/// Σ x, in double lanes. n is a multiple of kPanel.
HWY_INLINE double sum_of(const float* x, int64_t n) {
  const hn::CappedTag<double, 8> d;
  const hn::Rebind<float, decltype(d)> floats;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  auto sum0 = hn::Zero(d), sum1 = hn::Zero(d);
  for (int64_t i = 0; i < n; i += 2 * lanes) {
    sum0 = hn::Add(sum0, hn::PromoteTo(d, hn::LoadU(floats, x + i)));
    sum1 = hn::Add(sum1, hn::PromoteTo(d, hn::LoadU(floats, x + i + lanes)));
  }
  return hn::GetLane(hn::SumOfLanes(d, hn::Add(sum0, sum1)));
}

HWY_INLINE void divide(float* x, int64_t n, float by) {
  const D d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  const V divisor = hn::Set(d, by);
  for (int64_t i = 0; i < n; i += lanes) {
    const auto count = static_cast<size_t>(std::min(lanes, n - i));
    store_n(hn::Div(load_n(d, x + i, count), divisor), d, x + i, count);
  }
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace scute
HWY_AFTER_NAMESPACE();

#endif  // SCUTE_KERNELS_SOFTMAX_INL_H_
