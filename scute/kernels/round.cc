#include "scute/kernels/round.h"

#include "scute/base/random.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "scute/kernels/round.cc"
#include "hwy/foreach_target.h"
// After foreach_target.h.
#include "hwy/highway.h"
#include "scute/kernels/math-inl.h"

HWY_BEFORE_NAMESPACE();
namespace scute {
namespace HWY_NAMESPACE {
namespace {

using D = hn::CappedTag<float, 16>;
using V = hn::Vec<D>;
using Words = hn::Rebind<int32_t, D>;
using Bits = hn::Rebind<uint32_t, D>;
using Codes = hn::Rebind<int8_t, D>;

/// Calls act(r, c, count, scales) for each run of `count` ≤ lanes elements from (r, c) on.
template <class Act>
HWY_INLINE void each_run(int64_t rows, int64_t cols, MatView<const float> scales, const Act& act) {
  const D d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  if (cols == 0) return;  // then there may be no scale to read
  for (int64_t r = 0; r < rows; ++r) {
    const float* scale = scales.row(scales.rows == 1 ? 0 : r);
    const bool one = scales.cols == 1;
    const V same = hn::Set(d, scale[0]);
    for (int64_t c = 0; c < cols; c += lanes) {
      const auto count = static_cast<size_t>(HWY_MIN(lanes, cols - c));
      act(r, c, count, one ? same : load_n(d, scale + c, count));
    }
  }
}

/// x / scale within −128 … 127; NaN becomes 0. Before rounding this is the same as after it, for
/// the bounds are codes.
HWY_INLINE V clamped_quotient(V x, V scale) {
  const D d;
  const V q = hn::Div(x, scale);
  const V number = hn::IfThenElseZero(hn::Eq(q, q), q);
  return hn::Min(hn::Max(number, hn::Set(d, -128.0f)), hn::Set(d, 127.0f));
}

// Adding 1.5·2^23 rounds |v| < 2^22 to a whole number, halves to even, which is then the low part
// of the mantissa. Taking it away again never leaves −0.
constexpr float kMagic = 0x1.8p23f;
constexpr int32_t kMagicBits = 0x4B400000;

HWY_INLINE V to_code(V x, V scale) {
  const V magic = hn::Set(D(), kMagic);
  return hn::Sub(hn::Add(clamped_quotient(x, scale), magic), magic);
}

/// The words are within −128 … 127, so that saturation changes nothing.
HWY_INLINE void store_codes(hn::Vec<Words> codes, int8_t* to, size_t count) {
  const Codes d;
  store_n(hn::DemoteTo(d, codes), d, to, count);
}

/// ⌊x / scale + u / 2^24⌋, saturated; u in 0 … 2^24 − 1. ⌊127 · 2^24⌋ + u is below 2^31, and
/// −128 · 2^24 is −2^31 itself, so int32 holds every sum, exactly.
HWY_INLINE hn::Vec<Words> stochastic_code(V x, V scale, hn::Vec<Bits> u) {
  const Words words;
  const V fixed = hn::Floor(hn::Mul(clamped_quotient(x, scale), hn::Set(D(), 0x1p24f)));
  const auto sum = hn::Add(hn::ConvertTo(words, fixed), hn::BitCast(words, u));
  return hn::ShiftRight<24>(sum);
}

/// 24 bits of element number `i`. Two rounds of xor-shift and odd multiplication, as in the
/// finalizer of MurmurHash3; the second half of the key goes between them, because with the first
/// alone two keys would permute one and the same sequence.
HWY_INLINE hn::Vec<Bits> uniform_bits(hn::Vec<Bits> i, uint32_t low, uint32_t high) {
  const Bits d;
  auto h = hn::Xor(i, hn::Set(d, low));
  h = hn::Mul(hn::Xor(h, hn::ShiftRight<16>(h)), hn::Set(d, 0x85ebca6bu));
  h = hn::Add(h, hn::Set(d, high));
  h = hn::Mul(hn::Xor(h, hn::ShiftRight<13>(h)), hn::Set(d, 0xc2b2ae35u));
  h = hn::Xor(h, hn::ShiftRight<16>(h));
  return hn::ShiftRight<8>(h);
}

}  // namespace

void ToCodesKernel(MatView<const float> x, MatView<const float> scales, MatView<int8_t> codes) {
  const auto act = [&](int64_t r, int64_t c, size_t count, V scale) HWY_ATTR {
    const V q = clamped_quotient(load_n(D(), x.row(r) + c, count), scale);
    // The mantissa itself: a conversion would guard against overflow.
    const auto bits = hn::BitCast(Words(), hn::Add(q, hn::Set(D(), kMagic)));
    store_codes(hn::Sub(bits, hn::Set(Words(), kMagicBits)), codes.row(r) + c, count);
  };
  each_run(x.rows, x.cols, scales, act);
}

void ToFloatCodesKernel(MatView<const float> x, MatView<const float> scales, MatView<float> codes) {
  const auto act = [&](int64_t r, int64_t c, size_t count, V scale) HWY_ATTR {
    const D d;
    store_n(to_code(load_n(d, x.row(r) + c, count), scale), d, codes.row(r) + c, count);
  };
  each_run(x.rows, x.cols, scales, act);
}

void RoundToGridKernel(MatView<float> x, MatView<const float> scales) {
  const auto act = [&](int64_t r, int64_t c, size_t count, V scale) HWY_ATTR {
    const D d;
    float* values = x.row(r) + c;
    store_n(hn::Mul(scale, to_code(load_n(d, values, count), scale)), d, values, count);
  };
  each_run(x.rows, x.cols, scales, act);
}

void FromCodesKernel(MatView<const int8_t> codes, MatView<const float> scales, MatView<float> x) {
  const auto act = [&](int64_t r, int64_t c, size_t count, V scale) HWY_ATTR {
    const D d;
    const auto words = hn::PromoteTo(Words(), load_n(Codes(), codes.row(r) + c, count));
    store_n(hn::Mul(scale, hn::ConvertTo(d, words)), d, x.row(r) + c, count);
  };
  each_run(codes.rows, codes.cols, scales, act);
}

void ToCodesStochasticKernel(MatView<const float> x, MatView<const float> scales, uint32_t low,
                             uint32_t high, MatView<int8_t> codes, int64_t first_row) {
  const auto lane = hn::Iota(Bits(), 0);  // Highway 1.0 builds it in memory: once, not every time
  const auto act = [&](int64_t r, int64_t c, size_t count, V scale) HWY_ATTR {
    const int64_t element = (first_row + r) * x.cols + c;
    const auto number = static_cast<uint32_t>(static_cast<uint64_t>(element));
    const auto u = uniform_bits(hn::Add(hn::Set(Bits(), number), lane), low, high);
    const V values = load_n(D(), x.row(r) + c, count);
    store_codes(stochastic_code(values, scale, u), codes.row(r) + c, count);
  };
  each_run(x.rows, x.cols, scales, act);
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
  // Keys may be small or counted up; hashed, they share no bits.
  const uint64_t mixed = Random(key).next();
  HWY_DYNAMIC_DISPATCH(ToCodesStochasticKernel)
  (x, scales, static_cast<uint32_t>(mixed), static_cast<uint32_t>(mixed >> 32), codes, first_row);
}

}  // namespace scute
#endif  // HWY_ONCE
