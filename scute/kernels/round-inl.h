// Vectors of floats to 8-bit codes and back, shared by what rounds and what works on rounded
// states; included once per instruction set.
#if defined(SCUTE_KERNELS_ROUND_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef SCUTE_KERNELS_ROUND_INL_H_
#undef SCUTE_KERNELS_ROUND_INL_H_
#else
#define SCUTE_KERNELS_ROUND_INL_H_
#endif

#include <cstdint>

#include "hwy/highway.h"
#include "scute/base/random.h"
#include "scute/kernels/math-inl.h"
#include "scute/tensor/mat_view.h"

HWY_BEFORE_NAMESPACE();
namespace scute {
namespace HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;

/// Functions of vectors of D's lanes; x, scales and codes as in round.h.
namespace rounding {

using D = hn::CappedTag<float, 16>;
using V = hn::Vec<D>;
using Words = hn::Rebind<int32_t, D>;
using Bits = hn::Rebind<uint32_t, D>;
using Codes = hn::Rebind<int8_t, D>;

/// What values are divided by.
struct Divisor {
  V scale, reciprocal;
};

/// scale: positive normal floats.
HWY_INLINE Divisor divisor(V scale) { return {scale, hn::Div(hn::Set(D(), 1.0f), scale)}; }

/// Calls act(c, count, divisor) for each run of `count` ≤ lanes columns from c on, with their
/// scales: those of row r, or the one of all.
template <class Act>
HWY_INLINE void each_run(int64_t r, int64_t cols, MatView<const float> scales, const Act& act) {
  const D d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  if (cols == 0) return;  // then there may be no scale to read
  const float* scale = scales.row(scales.rows == 1 ? 0 : r);
  int64_t c = 0;
  if (scales.cols == 1) {
    const Divisor same = divisor(hn::Set(d, scale[0]));
    for (; c + lanes <= cols; c += lanes) act(c, static_cast<size_t>(lanes), same);
    if (c < cols) act(c, static_cast<size_t>(cols - c), same);
    return;
  }
  for (; c + lanes <= cols; c += lanes) {
    act(c, static_cast<size_t>(lanes), divisor(hn::LoadU(d, scale + c)));
  }
  if (c == cols) return;
  const auto count = static_cast<size_t>(cols - c);
  act(c, count, divisor(load_n(d, scale + c, count)));
}

/// Within −128 … 127; NaN stays one. Before rounding this is the same as after it, for the bounds
/// are codes.
HWY_INLINE V bounded(V x) {
  const D d;
  return at_most(at_least(x, hn::Set(d, -128.0f)), hn::Set(d, 127.0f));
}

// Adding 1.5·2^23 rounds |v| < 2^22 to a whole number, halves to even, which is then the low part
// of the mantissa. Taking it away again never leaves −0.
constexpr float kMagic = 0x1.8p23f;
constexpr int32_t kMagicBits = 0x4B400000;

/// How far a product with the reciprocal is from the code that is certainly that of the quotient.
/// The two are 3 · 2^−24 · 128 < 2^−15 apart at most, of a rounding each and the reciprocal's own;
/// that of a scale above 2^126 loses two bits more, where no quotient of floats exceeds 4.
constexpr float kCertain = 0.5f - 0x1p-15f;

/// kMagic and the code of x, which is that of x / scale rounded once: divided only where the
/// product comes too near the middle between two codes, and of NaN.
HWY_INLINE V shifted_code(V x, const Divisor& by) {
  const D d;
  const V magic = hn::Set(d, kMagic), product = bounded(hn::Mul(x, by.reciprocal));
  const V shifted = hn::Add(product, magic);
  const V away = hn::Abs(hn::Sub(product, hn::Sub(shifted, magic)));
  if (HWY_LIKELY(hn::AllTrue(d, hn::Le(away, hn::Set(d, kCertain))))) return shifted;
  const V quotient = hn::Div(x, by.scale);
  return hn::Add(bounded(hn::IfThenElseZero(hn::Eq(quotient, quotient), quotient)), magic);
}

/// The code as a float.
HWY_INLINE V nearest_code(V x, const Divisor& by) {
  return hn::Sub(shifted_code(x, by), hn::Set(D(), kMagic));
}

/// The words are within −128 … 127, so that saturation changes nothing.
HWY_INLINE void store_codes(hn::Vec<Words> codes, int8_t* to, size_t count) {
  const Codes d;
#if HWY_TARGET <= HWY_AVX3
  // Highway's way over 16 bits saturates twice.
  store_n(hn::Vec<Codes>{_mm512_cvtepi32_epi8(codes.raw)}, d, to, count);
#else
  store_n(hn::DemoteTo(d, codes), d, to, count);
#endif
}

/// code · scale.
HWY_INLINE V opened(const int8_t* code, size_t count, V scale) {
  const auto words = hn::PromoteTo(Words(), load_n(Codes(), code, count));
  return hn::Mul(scale, hn::ConvertTo(D(), words));
}

/// x[c] = codes[c] · scale for the row r.
HWY_INLINE void open_row(const int8_t* codes, int64_t r, int64_t cols, MatView<const float> scales,
                         float* x) {
  const auto act = [&](int64_t c, size_t count, const Divisor& by)
                       HWY_ATTR { store_n(opened(codes + c, count, by.scale), D(), x + c, count); };
  each_run(r, cols, scales, act);
}

/// The codes of x.
HWY_INLINE void store_nearest(V x, const Divisor& by, int8_t* codes, size_t count) {
  // The mantissa itself: a conversion would guard against overflow.
  const auto bits = hn::BitCast(Words(), shifted_code(x, by));
  store_codes(hn::Sub(bits, hn::Set(Words(), kMagicBits)), codes, count);
}

/// codes[c] = x[c] / scale to nearest, for the row r of the scales.
HWY_INLINE void nearest_row(const float* x, int64_t r, int64_t cols, MatView<const float> scales,
                            int8_t* codes) {
  const auto act = [&](int64_t c, size_t count, const Divisor& by)
                       HWY_ATTR { store_nearest(load_n(D(), x + c, count), by, codes + c, count); };
  each_run(r, cols, scales, act);
}

/// ⌊x / scale · 2^24⌋ saturated to −2^31 … 127 · 2^24; 0 for NaN. The processor turns what int32
/// cannot hold into −2^31, which saturates below without an instruction.
HWY_INLINE hn::Vec<Words> fixed_quotient(V x, V scale) {
  const D d;
  const V q = hn::Div(x, scale), most = hn::Set(d, 127.0f * 0x1p24f);
#if HWY_TARGET <= HWY_AVX3
  const V scaled = hn::Min(hn::Mul(q, hn::Set(d, 0x1p24f)), most);
  const __mmask16 number = _mm512_cmp_ps_mask(q.raw, q.raw, _CMP_ORD_Q);
  return hn::Vec<Words>{_mm512_maskz_cvt_roundps_epi32(number, scaled.raw,
                                                       _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC)};
#else
  const V number = hn::IfThenElseZero(hn::Eq(q, q), q);
  const V floor = hn::Floor(hn::Min(hn::Mul(number, hn::Set(d, 0x1p24f)), most));
#if HWY_TARGET == HWY_AVX2
  return hn::Vec<Words>{_mm256_cvttps_epi32(floor.raw)};
#else
  return hn::ConvertTo(Words(), hn::Max(floor, hn::Set(d, -0x1p31f)));
#endif
#endif
}

/// 24 bits of each element, by its number. Two rounds of xor-shift and odd multiplication, as in
/// the finalizer of MurmurHash3; the second half of the key goes between them, because with the
/// first alone two keys would permute one and the same sequence.
class UniformBits {
 public:
  /// Keys may be small or counted up; hashed, they share no bits.
  explicit UniformBits(uint64_t key) {
    const uint64_t mixed = Random(key).next();
    low_ = static_cast<uint32_t>(mixed);
    high_ = hn::Set(Bits(), static_cast<uint32_t>(mixed >> 32));
  }

  /// Of the elements from `first` on.
  HWY_INLINE hn::Vec<Bits> of(uint32_t first) {
    const Bits d;
    constexpr uint32_t kLanes = hn::MaxLanes(d), kLaneBits = kLanes - 1;
    if (HWY_UNLIKELY(first % kLanes != 0 || kLanes == 1)) {
      auto h = hn::Xor(hn::Add(hn::Set(d, first), lane_), hn::Set(d, low_));
      h = hn::Mul(hn::Xor(h, hn::ShiftRight<16>(h)), hn::Set(d, kFirst));
      return finish(hn::Add(h, high_));
    }
    // The upper bits are those of all lanes, so that the first round is one of scalars: what
    // differs, the lowest bits, is multiplied beforehand, and changes with the upper half alone.
    const uint32_t keyed = first ^ low_, mixed = keyed ^ (keyed >> 16);
    if (HWY_UNLIKELY((mixed & kLaneBits) != lowest_)) {
      lowest_ = mixed & kLaneBits;
      const auto own = hn::Xor(lane_, hn::Set(d, lowest_));
      products_ = hn::Add(hn::Mul(own, hn::Set(d, kFirst)), high_);
    }
    return finish(hn::Add(hn::Set(d, (mixed & ~kLaneBits) * kFirst), products_));
  }

 private:
  static constexpr uint32_t kFirst = 0x85ebca6bu, kSecond = 0xc2b2ae35u;

  static HWY_INLINE hn::Vec<Bits> finish(hn::Vec<Bits> h) {
    h = hn::Mul(hn::Xor(h, hn::ShiftRight<13>(h)), hn::Set(Bits(), kSecond));
    return hn::ShiftRight<8>(hn::Xor(h, hn::ShiftRight<16>(h)));
  }

  uint32_t low_, lowest_ = ~uint32_t{0};
  hn::Vec<Bits> high_, products_ = hn::Zero(Bits());  ///< products_: of the lowest bits, plus high_
  hn::Vec<Bits> lane_ = hn::Iota(Bits(), 0);
};

/// ⌊x / scale + u / 2^24⌋ saturated. 127 · 2^24 + u is below 2^31, so int32 holds every sum,
/// exactly.
HWY_INLINE hn::Vec<Words> stochastic_code(V x, V scale, hn::Vec<Bits> u) {
  return hn::ShiftRight<24>(hn::Add(fixed_quotient(x, scale), hn::BitCast(Words(), u)));
}

/// The codes of x[c] for the row r of the scales, whose elements have the numbers from `first` on.
HWY_INLINE void stochastic_row(const float* x, int64_t r, int64_t cols, MatView<const float> scales,
                               uint32_t first, UniformBits& uniform, int8_t* codes) {
  const auto act = [&](int64_t c, size_t count, const Divisor& by) HWY_ATTR {
    const auto u = uniform.of(first + static_cast<uint32_t>(c));
    store_codes(stochastic_code(load_n(D(), x + c, count), by.scale, u), codes + c, count);
  };
  each_run(r, cols, scales, act);
}

}  // namespace rounding
}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace scute
HWY_AFTER_NAMESPACE();

#endif  // SCUTE_KERNELS_ROUND_INL_H_
