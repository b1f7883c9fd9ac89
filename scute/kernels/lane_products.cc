#include "scute/kernels/lane_products.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "scute/kernels/lane_products.cc"
#include "hwy/foreach_target.h"
// After foreach_target.h.
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace scute {
namespace HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;
using D = hn::CappedTag<double, 8>;
using V = hn::Vec<D>;

// As in gram.cc: rows of a register block, each of two vectors of sums.
#if HWY_TARGET <= HWY_AVX3
constexpr int64_t kRows = 8;
#else
constexpr int64_t kRows = 6;
#endif
// Values that pass a register block at once: of 32 columns 16 KiB, half of a small first cache.
constexpr int64_t kDepth = 64;

/// kCount rows and two vectors of columns; the k in order, never a fused multiply-add.
template <int64_t kCount>
HWY_NOINLINE void add_block(const double* HWY_RESTRICT factors, int64_t factor_stride,
                            const double* HWY_RESTRICT values, int64_t value_stride, int64_t n,
                            double* HWY_RESTRICT sums, int64_t stride) {
  const D d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  V left[kCount], right[kCount];
  for (int64_t r = 0; r < kCount; ++r) {
    left[r] = hn::LoadU(d, sums + r * stride);
    right[r] = hn::LoadU(d, sums + r * stride + lanes);
  }
  for (int64_t k = 0; k < n; ++k, values += value_stride) {
    const V v0 = hn::LoadU(d, values), v1 = hn::LoadU(d, values + lanes);
    for (int64_t r = 0; r < kCount; ++r) {
      const V factor = hn::Set(d, factors[r * factor_stride + k]);
      left[r] = hn::Add(left[r], hn::Mul(factor, v0));
      right[r] = hn::Add(right[r], hn::Mul(factor, v1));
    }
  }
  for (int64_t r = 0; r < kCount; ++r) {
    hn::StoreU(left[r], d, sums + r * stride);
    hn::StoreU(right[r], d, sums + r * stride + lanes);
  }
}

template <int64_t kCount>
HWY_INLINE void add_rows(MatView<const double> factors, MatView<const double> values,
                         MatView<double> sums, int64_t row) {
  const auto step = 2 * static_cast<int64_t>(hn::Lanes(D()));
  for (int64_t c = 0; c < sums.cols; c += step) {
    add_block<kCount>(factors.row(row), factors.stride, values.data + c, values.stride,
                      factors.cols, sums.row(row) + c, sums.stride);
  }
}

}  // namespace

void AddLaneProductsKernel(MatView<const double> factors, MatView<const double> values,
                           MatView<double> sums) {
  for (int64_t k = 0; k < factors.cols; k += kDepth) {
    const int64_t n = HWY_MIN(kDepth, factors.cols - k);
    const MatView<const double> some = factors.columns(k, n), those = values.slice_rows(k, n);
    int64_t r = 0;
    for (; r + kRows <= sums.rows; r += kRows) add_rows<kRows>(some, those, sums, r);
    for (; r < sums.rows; ++r) add_rows<1>(some, those, sums, r);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace scute
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace scute {

HWY_EXPORT(AddLaneProductsKernel);

void add_lane_products(MatView<const double> factors, MatView<const double> values,
                       MatView<double> sums) noexcept {
  HWY_DYNAMIC_DISPATCH(AddLaneProductsKernel)(factors, values, sums);
}

}  // namespace scute
#endif  // HWY_ONCE
