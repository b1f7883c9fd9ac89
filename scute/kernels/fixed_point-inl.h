// Vectors of codes as doubles, shared by the fixed_point*.cc; included once per instruction set.
// Nothing here but IEEE additions, products, quotients and conversions, each rounded once, and
// whole numbers: every instruction set gives the same bits.
#if defined(SCUTE_KERNELS_FIXED_POINT_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef SCUTE_KERNELS_FIXED_POINT_INL_H_
#undef SCUTE_KERNELS_FIXED_POINT_INL_H_
#else
#define SCUTE_KERNELS_FIXED_POINT_INL_H_
#endif

#include <cstdint>

#include "hwy/highway.h"
#include "scute/kernels/math-inl.h"

HWY_BEFORE_NAMESPACE();
namespace scute {
namespace HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;

using D = hn::CappedTag<double, 8>;
using Codes = hn::Rebind<int16_t, D>;
using Words = hn::Rebind<int32_t, D>;
using Longs = hn::Rebind<int64_t, D>;
using Bits = hn::Rebind<uint64_t, D>;
using V = hn::Vec<D>;

/// Calls act(r, c, count) for each run of `count` ≤ lanes elements from (r, c) on.
template <class Act>
HWY_INLINE void each_run(int64_t rows, int64_t cols, const Act& act) {
  const auto lanes = static_cast<int64_t>(hn::Lanes(D()));
  for (int64_t r = 0; r < rows; ++r) {
    int64_t c = 0;
    for (; c + lanes <= cols; c += lanes) act(r, c, static_cast<size_t>(lanes));
    if (c < cols) act(r, c, static_cast<size_t>(cols - c));
  }
}

HWY_INLINE hn::Vec<Words> load_words(const int16_t* from, size_t count) {
  return hn::PromoteTo(Words(), load_n(Codes(), from, count));
}
HWY_INLINE V load_double(const int16_t* from, size_t count) {
  return hn::PromoteTo(D(), load_words(from, count));
}
HWY_INLINE V load_double(const int32_t* from, size_t count) {
  return hn::PromoteTo(D(), load_n(Words(), from, count));
}
/// Exact for |values| < 2^53, which the contract has. The lower and the upper 32 bits become
/// mantissas of 2^52 and of 2^84 (the upper ones plus 2^31, to have no sign); what was added goes
/// away again, and every step of that is exact.
HWY_INLINE V load_double(const int64_t* from, size_t count) {
  const Bits bits;
  const auto v = hn::BitCast(bits, load_n(Longs(), from, count));
  const auto low = hn::Or(hn::And(v, hn::Set(bits, uint64_t{0xffffffff})),
                          hn::Set(bits, uint64_t{0x4330000000000000}));
  const auto high = hn::Xor(hn::ShiftRight<32>(v), hn::Set(bits, uint64_t{0x4530000080000000}));
  const V upper = hn::Sub(hn::BitCast(D(), high), hn::Set(D(), 0x1p84 + 0x1p63 + 0x1p52));
  return hn::Add(upper, hn::BitCast(D(), low));
}

/// Adding this rounds |v| < 2^51 to a whole number, halves to even, whose two's complement is then
/// at the sum's lower end: its lower 16 bits are the code.
constexpr double kRounder = 0x1.8p52;

/// The codes of `bits` bits.
struct Saturate {
  explicit Saturate(int bits)
      : least(hn::Set(D(), -static_cast<double>(1 << (bits - 1)))),
        most(hn::Set(D(), static_cast<double>((1 << (bits - 1)) - 1))) {}
  V least, most;

  HWY_INLINE V operator()(V v) const { return hn::Min(hn::Max(v, least), most); }
};

/// Codes that kRounder was added to.
HWY_INLINE void store_code_bits(V rounded, int16_t* to, size_t count) {
  const auto lower = hn::TruncateTo(hn::Rebind<uint16_t, D>(), hn::BitCast(Bits(), rounded));
  store_n(hn::BitCast(Codes(), lower), Codes(), to, count);
}

/// saturate(round(v)). Cut before it is rounded, for the ends are whole numbers.
HWY_INLINE void store_rounded(V v, const Saturate& saturate, int16_t* to, size_t count) {
  store_code_bits(hn::Add(saturate(v), hn::Set(D(), kRounder)), to, count);
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace scute
HWY_AFTER_NAMESPACE();

#endif  // SCUTE_KERNELS_FIXED_POINT_INL_H_
