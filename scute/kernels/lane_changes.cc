#include "scute/kernels/lane_changes.h"

#include <array>
#include <cstddef>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "scute/kernels/lane_changes.cc"
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

// Rows of a register block of one vector: narrower than in lane_products.cc, so that fewer zeroes
// come along with a change.
#if HWY_TARGET <= HWY_AVX3
constexpr int64_t kRows = 16;
#else
constexpr int64_t kRows = 12;
#endif
// Columns whose changes are listed at once, so that a block of rows comes from the first cache for
// all but one vector of them: 16 KiB of changes, 8 to 12 of factors.
constexpr int64_t kColumns = 32;

/// The k of one vector of columns that have changes.
struct ChangedInputs {
  int64_t count = 0;
  HWY_ALIGN double values[kMostChanges * hn::MaxLanes(D())];
  std::array<int64_t, kMostChanges> at;

  void list(MatView<const double> changes, int64_t column) {
    const D d;
    const auto lanes = static_cast<int64_t>(hn::Lanes(d));
    count = 0;
    for (int64_t k = 0; k < changes.rows; ++k) {
      const V v = hn::LoadU(d, changes.row(k) + column);
      if (hn::AllTrue(d, hn::Eq(v, hn::Zero(d)))) continue;
      hn::StoreU(v, d, values + count * lanes);
      at[static_cast<size_t>(count++)] = k;
    }
  }
};

/// Where the sums of one vector of columns go; `scaled` may be null.
struct ChangedSums {
  double* sums;
  int64_t stride;
  double* scaled;
  int64_t scaled_stride;
  V scales;

  HWY_INLINE void add(int64_t row, V t) const {
    const D d;
    double* to = sums + row * stride;
    hn::StoreU(hn::Add(hn::LoadU(d, to), t), d, to);
    if (scaled == nullptr) return;
    to = scaled + row * scaled_stride;
    hn::StoreU(hn::Add(hn::LoadU(d, to), hn::Mul(t, scales)), d, to);
  }
};

/// kCount rows from `row` on; never a fused multiply-add.
template <int64_t kCount>
HWY_NOINLINE void add_changed(const double* HWY_RESTRICT factors, int64_t stride,
                              const ChangedInputs& inputs, int64_t row, const ChangedSums& to) {
  const D d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  V sums[kCount];
  for (int64_t r = 0; r < kCount; ++r) sums[r] = hn::Zero(d);
  const double* values = inputs.values;
  for (int64_t i = 0; i < inputs.count; ++i, values += lanes) {
    const double* factor = factors + inputs.at[static_cast<size_t>(i)];
    const V v = hn::LoadU(d, values);
    for (int64_t r = 0; r < kCount; ++r) {
      sums[r] = hn::Add(sums[r], hn::Mul(hn::Set(d, factor[r * stride]), v));
    }
  }
  for (int64_t r = 0; r < kCount; ++r) to.add(row + r, sums[r]);
}

using ListedInputs = std::array<ChangedInputs, kColumns / hn::MaxLanes(D())>;

template <int64_t kCount>
HWY_INLINE void add_rows(MatView<const double> factors, const ListedInputs& inputs, int64_t row,
                         MatView<double> sums, const double* scales, MatView<double> scaled) {
  const D d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  for (int64_t c = 0; c < sums.cols; c += lanes) {
    const ChangedInputs& changed = inputs[static_cast<size_t>(c / lanes)];
    if (changed.count == 0) continue;
    const bool both = scales != nullptr;
    add_changed<kCount>(factors.row(row), factors.stride, changed, row,
                        {sums.data + c, sums.stride, both ? scaled.data + c : nullptr,
                         scaled.stride, both ? hn::LoadU(d, scales + c) : hn::Zero(d)});
  }
}

/// At most kColumns.
HWY_INLINE void add_columns(MatView<const double> factors, MatView<const double> changes,
                            MatView<double> sums, const double* scales, MatView<double> scaled) {
  const D d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  ListedInputs inputs;
  for (int64_t c = 0; c < sums.cols; c += lanes) {
    inputs[static_cast<size_t>(c / lanes)].list(changes, c);
  }
  int64_t r = 0;
  for (; r + kRows <= sums.rows; r += kRows) {
    add_rows<kRows>(factors, inputs, r, sums, scales, scaled);
  }
  for (; r < sums.rows; ++r) add_rows<1>(factors, inputs, r, sums, scales, scaled);
}

}  // namespace

void AddLaneChangesKernel(MatView<const double> factors, MatView<const double> changes,
                          MatView<double> sums, const double* scales, MatView<double> scaled) {
  for (int64_t c = 0; c < sums.cols; c += kColumns) {
    const int64_t count = HWY_MIN(kColumns, sums.cols - c);
    add_columns(factors, changes.columns(c, count), sums.columns(c, count),
                scales == nullptr ? nullptr : scales + c,
                scales == nullptr ? scaled : scaled.columns(c, count));
  }
}

void AddScaledLanesKernel(MatView<const double> from, const double* scales, MatView<double> to) {
  const D d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  for (int64_t r = 0; r < to.rows; ++r) {
    for (int64_t c = 0; c < to.cols; c += lanes) {
      const V product = hn::Mul(hn::LoadU(d, from.row(r) + c), hn::LoadU(d, scales + c));
      hn::StoreU(hn::Add(hn::LoadU(d, to.row(r) + c), product), d, to.row(r) + c);
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace scute
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace scute {

HWY_EXPORT(AddLaneChangesKernel);
HWY_EXPORT(AddScaledLanesKernel);

void add_lane_changes(MatView<const double> factors, MatView<const double> changes,
                      MatView<double> sums) noexcept {
  HWY_DYNAMIC_DISPATCH(AddLaneChangesKernel)(factors, changes, sums, nullptr, {});
}

void add_lane_changes(MatView<const double> factors, MatView<const double> changes,
                      MatView<double> sums, const double* scales, MatView<double> scaled) noexcept {
  HWY_DYNAMIC_DISPATCH(AddLaneChangesKernel)(factors, changes, sums, scales, scaled);
}

void add_scaled_lanes(MatView<const double> from, const double* scales,
                      MatView<double> to) noexcept {
  HWY_DYNAMIC_DISPATCH(AddScaledLanesKernel)(from, scales, to);
}

}  // namespace scute
#endif  // HWY_ONCE
