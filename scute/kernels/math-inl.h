// Vector functions shared by the kernels; included once per instruction set, inside foreach_target.
// Every function is lane by lane: a value's result does not depend on the lane it sits in, nor on
// its neighbours. That is what lets a sequence be cut anywhere without changing a bit.
// Include guard that lets each instruction set see the contents once.
#if defined(SCUTE_KERNELS_MATH_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef SCUTE_KERNELS_MATH_INL_H_
#undef SCUTE_KERNELS_MATH_INL_H_
#else
#define SCUTE_KERNELS_MATH_INL_H_
#endif

#include <cstdint>
#include <cstring>

#include "hwy/highway.h"
// After highway.h.
#include "hwy/contrib/math/math-inl.h"

HWY_BEFORE_NAMESPACE();
namespace scute {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

/// 1 ≤ `count` ≤ lanes values, the rest zero; touches no memory beyond them (Highway's masked loads
/// may, on SSE4).
template <class D, class T = hn::TFromD<D>>
HWY_INLINE hn::Vec<D> load_n(D d, const T* HWY_RESTRICT from, size_t count) {
  if (hn::MaxLanes(D()) == 1 || HWY_LIKELY(count == hn::Lanes(d))) return hn::LoadU(d, from);
  HWY_ALIGN T padded[hn::MaxLanes(D())] = {};
  std::memcpy(padded, from, count * sizeof(T));
  return hn::Load(d, padded);
}

/// Stores the first 1 ≤ `count` ≤ lanes values and touches nothing beyond.
template <class D, class T = hn::TFromD<D>>
HWY_INLINE void store_n(hn::Vec<D> v, D d, T* to, size_t count) {
  if (hn::MaxLanes(D()) == 1 || HWY_LIKELY(count == hn::Lanes(d))) return hn::StoreU(v, d, to);
  HWY_ALIGN T padded[hn::MaxLanes(D())];
  hn::Store(v, d, padded);
  std::memcpy(to, padded, count * sizeof(T));
}

/// e^x for x clamped to [−105, 89], where it is 0 and +infinity; for NaN some number or NaN.
/// Highway 1.0's Exp alone returns garbage for large x and 0 for NaN. 2 ulp.
template <class D, class V>
HWY_INLINE V exp_clamped(D d, V x) {
  return hn::Exp(d, hn::Min(hn::Max(x, hn::Set(d, -105.0f)), hn::Set(d, 89.0f)));
}

/// e^x for every float; NaN stays NaN.
template <class D, class V>
HWY_INLINE V exp_any(D d, V x) {
  return hn::IfThenElse(hn::Eq(x, x), exp_clamped(d, x), x);
}

/// x·σ(x) = x / (1 + e^−x). At −∞ it is NaN (−∞·0), as in IEEE arithmetic.
template <class D, class V>
HWY_INLINE V silu(D d, V x) {
  return hn::Div(x, hn::Add(hn::Set(d, 1.0f), exp_clamped(d, hn::Neg(x))));
}

/// The larger of x and `least`, but NaN where x is NaN.
template <class V>
HWY_INLINE V at_least(V x, V least) {
#if HWY_TARGET == HWY_SCALAR || HWY_TARGET == HWY_EMU128
  return hn::IfThenElse(hn::Lt(x, least), least, x);
#else
  return hn::Max(least, x);  // maxps returns its second operand when one is NaN
#endif
}

/// The smaller of x and `most`, but NaN where x is NaN.
template <class V>
HWY_INLINE V at_most(V x, V most) {
#if HWY_TARGET == HWY_SCALAR || HWY_TARGET == HWY_EMU128
  return hn::IfThenElse(hn::Gt(x, most), most, x);
#else
  return hn::Min(most, x);   // minps too
#endif
}

/// log(1 + e^x) = max(x, 0) + log1p(e^−|x|), which from 16 on is x itself in float. With s =
/// u/(2 + u), log1p(u) = 2·artanh(s), whose odd series (minimax on s ≤ ⅓, off by 4.5e-9) keeps the
/// relative error small where u is: log(1 + u) would return 0 below −16.6. One division where
/// hn::Log1p has two. 4 ulp; NaN stays NaN.
template <class D, class V>
HWY_INLINE V softplus(D d, V x) {
  const V least = hn::Set(d, -105.0f);  // e^−105 is 0
  const V u = hn::Exp(d, hn::Max(hn::Neg(hn::Abs(x)), least));
  const V s = hn::Div(u, hn::Add(u, hn::Set(d, 2.0f)));
  const V w = hn::Mul(s, s);
  V p = hn::MulAdd(w, hn::Set(d, 0.140059933f), hn::Set(d, 0.140009031f));
  p = hn::MulAdd(p, w, hn::Set(d, 0.200107634f));
  p = hn::MulAdd(p, w, hn::Set(d, 0.333332092f));
  const V twice = hn::Add(s, s);
  const V log1p = hn::MulAdd(hn::Mul(twice, w), p, twice);
  return hn::Add(at_least(x, hn::Zero(d)), log1p);
}

/// 2^z for z < 127.5: the decay exp(δ·A) of the selective scan, where z ≤ 0. Results below 2^−126
/// become 0. NaN stays NaN. About half the instructions of hn::Exp: z needs no two-part reduction,
/// for z − round(z) is exact. Error ≤ 2 ulp: the polynomial (minimax on ±½, found by Remez
/// exchange with the constant term fixed at 1) is off by 2.6e-9, the rest is rounding.
template <class D, class V>
HWY_INLINE V exp2_decay(D d, V z) {
  z = at_least(z, hn::Set(d, -127.0f));
  // Adding 1.5·2^23 rounds to an integer, and leaves it in the low bits of the mantissa; 127 more
  // makes those bits the biased exponent of 2^round(z) (0 for −127: the factor zero).
  const V magic = hn::Set(d, 12582912.0f + 127.0f);
  const V shifted = hn::Add(z, magic);
  const V r = hn::Sub(z, hn::Sub(shifted, magic));
  const hn::RebindToUnsigned<D> du;
  const V power = hn::BitCast(d, hn::ShiftLeft<23>(hn::BitCast(du, shifted)));
  V p = hn::Set(d, 0.000155946778f);
  p = hn::MulAdd(p, r, hn::Set(d, 0.00134066434f));
  p = hn::MulAdd(p, r, hn::Set(d, 0.00961769279f));
  p = hn::MulAdd(p, r, hn::Set(d, 0.0555031039f));
  p = hn::MulAdd(p, r, hn::Set(d, 0.240226522f));
  p = hn::MulAdd(p, r, hn::Set(d, 0.693147242f));
  p = hn::MulAdd(p, r, hn::Set(d, 1.0f));
  return hn::Mul(p, power);
}

}  // namespace HWY_NAMESPACE
}  // namespace scute
HWY_AFTER_NAMESPACE();

#endif  // SCUTE_KERNELS_MATH_INL_H_
