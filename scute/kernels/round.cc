#include "scute/kernels/round.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "scute/kernels/round.cc"
#include "hwy/foreach_target.h"
// After foreach_target.h.
#include "hwy/highway.h"
#include "scute/kernels/round-inl.h"

HWY_BEFORE_NAMESPACE();
namespace scute {
namespace HWY_NAMESPACE {
namespace {

using namespace rounding;

/// Calls act(r, c, count, divisor) for every run of every row. Scales of columns are read, and
/// their reciprocals taken, for a few rows together.
template <class Act>
HWY_INLINE void each_run_of_rows(int64_t rows, int64_t cols, MatView<const float> scales,
                                 const Act& act) {
  const int64_t together = scales.rows == 1 && scales.cols > 1 ? 8 : 1;
  for (int64_t first = 0; first < rows; first += together) {
    const int64_t end = HWY_MIN(first + together, rows);
    each_run(first, cols, scales, [&](int64_t c, size_t count, const Divisor& by) HWY_ATTR {
      for (int64_t r = first; r < end; ++r) act(r, c, count, by);
    });
  }
}

}  // namespace

void ToCodesKernel(MatView<const float> x, MatView<const float> scales, MatView<int8_t> codes) {
  const auto act = [&](int64_t r, int64_t c, size_t count, const Divisor& by) HWY_ATTR {
    store_nearest(load_n(D(), x.row(r) + c, count), by, codes.row(r) + c, count);
  };
  each_run_of_rows(x.rows, x.cols, scales, act);
}

void ToFloatCodesKernel(MatView<const float> x, MatView<const float> scales, MatView<float> codes) {
  const auto act = [&](int64_t r, int64_t c, size_t count, const Divisor& by) HWY_ATTR {
    const D d;
    store_n(nearest_code(load_n(d, x.row(r) + c, count), by), d, codes.row(r) + c, count);
  };
  each_run_of_rows(x.rows, x.cols, scales, act);
}

void RoundToGridKernel(MatView<float> x, MatView<const float> scales) {
  const auto act = [&](int64_t r, int64_t c, size_t count, const Divisor& by) HWY_ATTR {
    const D d;
    float* values = x.row(r) + c;
    store_n(hn::Mul(by.scale, nearest_code(load_n(d, values, count), by)), d, values, count);
  };
  each_run_of_rows(x.rows, x.cols, scales, act);
}

void FromCodesKernel(MatView<const int8_t> codes, MatView<const float> scales, MatView<float> x) {
  for (int64_t r = 0; r < codes.rows; ++r) open_row(codes.row(r), r, x.cols, scales, x.row(r));
}

void ToCodesStochasticKernel(MatView<const float> x, MatView<const float> scales, uint64_t key,
                             MatView<int8_t> codes, int64_t first_row) {
  UniformBits uniform(key);
  for (int64_t r = 0; r < x.rows; ++r) {
    const auto first = static_cast<uint32_t>(static_cast<uint64_t>((first_row + r) * x.cols));
    stochastic_row(x.row(r), r, x.cols, scales, first, uniform, codes.row(r));
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace scute
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace scute {

HWY_EXPORT(ToCodesKernel);
HWY_EXPORT(ToFloatCodesKernel);
HWY_EXPORT(RoundToGridKernel);
HWY_EXPORT(FromCodesKernel);
HWY_EXPORT(ToCodesStochasticKernel);

void to_codes(MatView<const float> x, MatView<const float> scales, MatView<int8_t> codes) noexcept {
  HWY_DYNAMIC_DISPATCH(ToCodesKernel)(x, scales, codes);
}

void to_float_codes(MatView<const float> x, MatView<const float> scales,
                    MatView<float> codes) noexcept {
  HWY_DYNAMIC_DISPATCH(ToFloatCodesKernel)(x, scales, codes);
}

void round_to_grid(MatView<float> x, MatView<const float> scales) noexcept {
  HWY_DYNAMIC_DISPATCH(RoundToGridKernel)(x, scales);
}

void from_codes(MatView<const int8_t> codes, MatView<const float> scales,
                MatView<float> x) noexcept {
  HWY_DYNAMIC_DISPATCH(FromCodesKernel)(codes, scales, x);
}

void to_codes_stochastic(MatView<const float> x, MatView<const float> scales, uint64_t key,
                         MatView<int8_t> codes, int64_t first_row) noexcept {
  HWY_DYNAMIC_DISPATCH(ToCodesStochasticKernel)(x, scales, key, codes, first_row);
}

}  // namespace scute
#endif  // HWY_ONCE
