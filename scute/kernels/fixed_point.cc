#include "scute/kernels/fixed_point.h"

#include <cmath>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "scute/kernels/fixed_point.cc"
#include "hwy/foreach_target.h"
// After foreach_target.h.
#include "hwy/highway.h"
#include "scute/kernels/fixed_point-inl.h"

HWY_BEFORE_NAMESPACE();
namespace scute {
namespace HWY_NAMESPACE {
namespace {

template <class Sum>
HWY_INLINE void requantize(MatView<const Sum> sums, const double* factor, const double* bias,
                           int bits, MatView<int16_t> y) {
  const Saturate saturate(bits);
  const auto act = [&](int64_t r, int64_t c, size_t count) HWY_ATTR {
    const V sum = hn::Add(load_double(sums.row(r) + c, count), load_n(D(), bias + c, count));
    store_rounded(hn::Mul(sum, load_n(D(), factor + c, count)), saturate, y.row(r) + c, count);
  };
  each_run(sums.rows, sums.cols, act);
}

/// Whole below 2^53, hence exact in any order.
double sum_of_squares(const int16_t* x, int64_t cols) {
  const auto lanes = static_cast<int64_t>(hn::Lanes(D()));
  V sum = hn::Zero(D());
  for (int64_t c = 0; c < cols; c += lanes) {
    const V v = load_double(x + c, static_cast<size_t>(HWY_MIN(lanes, cols - c)));
    sum = hn::Add(sum, hn::Mul(v, v));
  }
  return hn::GetLane(hn::SumOfLanes(D(), sum));
}

/// ⌊√v⌋, at least 1. The double's root is off by one at most.
int64_t floor_root(int64_t v) {
  auto root = static_cast<int64_t>(std::sqrt(static_cast<double>(v)));
  while (root * root > v) --root;
  while ((root + 1) * (root + 1) <= v) ++root;
  return HWY_MAX(root, int64_t{1});
}

}  // namespace

// The product with the reciprocal is within 2^-51 of the quotient, relatively, and so within 2^-35
// where it is not cut: both round to the same code unless there is a half that near. NaN,
// infinities and what is too large for the rounder fail that comparison too.
void FixedQuantizeKernel(MatView<const float> x, double scale, int bits, MatView<int16_t> y) {
  const Saturate saturate(bits);
  const V divisor = hn::Set(D(), scale), inverse = hn::Set(D(), 1 / scale);
  const V rounder = hn::Set(D(), kRounder), half = hn::Set(D(), 0.5 - 0x1p-30);
  const hn::Rebind<float, D> floats;
  const auto act = [&](int64_t r, int64_t c, size_t count) HWY_ATTR {
    const V v = hn::PromoteTo(D(), load_n(floats, x.row(r) + c, count));
    const V near = hn::Mul(v, inverse);
    const V whole = hn::Sub(hn::Add(near, rounder), rounder);
    if (HWY_LIKELY(hn::AllTrue(D(), hn::Lt(hn::Abs(hn::Sub(near, whole)), half)))) {
      return store_code_bits(hn::Add(saturate(whole), rounder), y.row(r) + c, count);
    }
    const V quotient = hn::Div(v, divisor);
    store_rounded(hn::IfThenElseZero(hn::Eq(quotient, quotient), quotient), saturate, y.row(r) + c,
                  count);
  };
  each_run(x.rows, x.cols, act);
}

void FixedRequantize64Kernel(MatView<const int64_t> sums, const double* factor, const double* bias,
                             int bits, MatView<int16_t> y) {
  requantize(sums, factor, bias, bits, y);
}

void FixedRequantize32Kernel(MatView<const int32_t> sums, const double* factor, const double* bias,
                             int bits, MatView<int16_t> y) {
  requantize(sums, factor, bias, bits, y);
}

void FixedRescaleKernel(MatView<const int16_t> x, double factor, int bits, MatView<int16_t> y) {
  const Saturate saturate(bits);
  const V scale = hn::Set(D(), factor);
  const auto act = [&](int64_t r, int64_t c, size_t count) HWY_ATTR {
    store_rounded(hn::Mul(load_double(x.row(r) + c, count), scale), saturate, y.row(r) + c, count);
  };
  each_run(x.rows, x.cols, act);
}

void FixedNarrowKernel(MatView<const int16_t> x, MatView<int8_t> y) {
  const hn::CappedTag<int16_t, 32> codes;
  const hn::Rebind<int8_t, decltype(codes)> bytes;
  const auto lanes = static_cast<int64_t>(hn::Lanes(codes));
  for (int64_t r = 0; r < x.rows; ++r) {
    for (int64_t c = 0; c < x.cols; c += lanes) {
      const auto count = static_cast<size_t>(HWY_MIN(lanes, x.cols - c));
      const auto wide = load_n(codes, x.row(r) + c, count);
      store_n(hn::DemoteTo(bytes, wide), bytes, y.row(r) + c, count);
    }
  }
}

void FixedAddKernel(MatView<int16_t> x, MatView<const int16_t> y) {
  const hn::CappedTag<int16_t, 32> codes;
  const auto lanes = static_cast<int64_t>(hn::Lanes(codes));
  for (int64_t r = 0; r < x.rows; ++r) {
    for (int64_t c = 0; c < x.cols; c += lanes) {
      const auto count = static_cast<size_t>(HWY_MIN(lanes, x.cols - c));
      int16_t* to = x.row(r) + c;
      const auto added = load_n(codes, y.row(r) + c, count);
      store_n(hn::SaturatedAdd(load_n(codes, to, count), added), codes, to, count);
    }
  }
}

void FixedGateKernel(MatView<const int16_t> x, MatView<const int16_t> gate, double factor, int bits,
                     MatView<int16_t> y) {
  const Saturate saturate(bits);
  const V scale = hn::Set(D(), factor);
  const auto act = [&](int64_t r, int64_t c, size_t count) HWY_ATTR {
    // At most 2^30: exact.
    const V product =
        hn::Mul(load_double(x.row(r) + c, count), load_double(gate.row(r) + c, count));
    store_rounded(hn::Mul(product, scale), saturate, y.row(r) + c, count);
  };
  each_run(x.rows, x.cols, act);
}

void FixedRmsNormKernel(MatView<const int16_t> x, const FixedNorm& norm, int bits,
                        MatView<int16_t> y) {
  const Saturate saturate(bits);
  for (int64_t r = 0; r < x.rows; ++r) {
    const auto squares = static_cast<int64_t>(sum_of_squares(x.row(r), x.cols));
    // Below (2^42 + 2^40) · 2^12 < 2^55.
    const int64_t root = floor_root((squares + norm.epsilon) << (2 * FixedNorm::kRootBits));
    const V divisor = hn::Set(D(), static_cast<double>(root));
    const auto act = [&](int64_t, int64_t c, size_t count) HWY_ATTR {
      const V product =
          hn::Mul(load_double(x.row(r) + c, count), load_double(norm.gain + c, count));
      store_rounded(hn::Div(product, divisor), saturate, y.row(r) + c, count);
    };
    each_run(1, x.cols, act);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace scute
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace scute {

HWY_EXPORT(FixedQuantizeKernel);
HWY_EXPORT(FixedRequantize64Kernel);
HWY_EXPORT(FixedRequantize32Kernel);
HWY_EXPORT(FixedRescaleKernel);
HWY_EXPORT(FixedNarrowKernel);
HWY_EXPORT(FixedAddKernel);
HWY_EXPORT(FixedGateKernel);
HWY_EXPORT(FixedRmsNormKernel);

void fixed_quantize(MatView<const float> x, double scale, int bits, MatView<int16_t> y) noexcept {
  HWY_DYNAMIC_DISPATCH(FixedQuantizeKernel)(x, scale, bits, y);
}

void fixed_requantize(MatView<const int64_t> sums, const double* factor, const double* bias,
                      int bits, MatView<int16_t> y) noexcept {
  HWY_DYNAMIC_DISPATCH(FixedRequantize64Kernel)(sums, factor, bias, bits, y);
}

void fixed_requantize(MatView<const int32_t> sums, const double* factor, const double* bias,
                      int bits, MatView<int16_t> y) noexcept {
  HWY_DYNAMIC_DISPATCH(FixedRequantize32Kernel)(sums, factor, bias, bits, y);
}

void fixed_rescale(MatView<const int16_t> x, double factor, int bits, MatView<int16_t> y) noexcept {
  HWY_DYNAMIC_DISPATCH(FixedRescaleKernel)(x, factor, bits, y);
}

void fixed_narrow(MatView<const int16_t> x, MatView<int8_t> y) noexcept {
  HWY_DYNAMIC_DISPATCH(FixedNarrowKernel)(x, y);
}

void fixed_add(MatView<int16_t> x, MatView<const int16_t> y) noexcept {
  HWY_DYNAMIC_DISPATCH(FixedAddKernel)(x, y);
}

void fixed_gate(MatView<const int16_t> x, MatView<const int16_t> gate, double factor, int bits,
                MatView<int16_t> y) noexcept {
  HWY_DYNAMIC_DISPATCH(FixedGateKernel)(x, gate, factor, bits, y);
}

void fixed_rms_norm(MatView<const int16_t> x, const FixedNorm& norm, int bits,
                    MatView<int16_t> y) noexcept {
  HWY_DYNAMIC_DISPATCH(FixedRmsNormKernel)(x, norm, bits, y);
}

}  // namespace scute
#endif  // HWY_ONCE
