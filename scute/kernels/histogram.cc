#include "scute/kernels/histogram.h"

#include <algorithm>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "scute/kernels/histogram.cc"
#include "hwy/foreach_target.h"
// After foreach_target.h.
#include "hwy/cache_control.h"
#include "hwy/highway.h"
#include "scute/kernels/math-inl.h"

HWY_BEFORE_NAMESPACE();
namespace scute {
namespace HWY_NAMESPACE {
namespace {

using Floats = hn::ScalableTag<float>;
using Unsigned = hn::RebindToUnsigned<Floats>;
using Signed = hn::RebindToSigned<Floats>;

// Large enough to hide the reduction over lanes, small enough that one NaN costs little and that
// 8 KB of stack hold it.
constexpr size_t kBlock = 2048;

constexpr uint32_t kInfinity = 0x7f800000, kSign = 0x80000000;

uint32_t bits_of(float x) {
  uint32_t bits;
  std::memcpy(&bits, &x, sizeof bits);
  return bits;
}

float float_of(uint32_t bits) {
  float x;
  std::memcpy(&x, &bits, sizeof x);
  return x;
}

/// Bit patterns of a block of values, reduced in a way that needs no floating-point comparison: the
/// order of floats of one sign is the order of their patterns.
struct BlockScan {
  uint32_t any;        ///< or of all
  int32_t positive;    ///< the largest as int32: that of the largest value with sign +, if any
  uint32_t negative;   ///< the largest as uint32: that of the smallest value with sign −, if any
  uint32_t magnitude;  ///< the smallest non-zero magnitude's pattern·2 − 1, or 2^32 − 1
  int64_t zeros;
};

// Plain integer code is the fastest here (0.28 ns per value against 0.37 with ids extracted by
// vector instructions): the increments limit, not the shifts. Two values per load, eight per step;
// it is in this file part for the three-operand shifts of BMI2. Where every second value is the
// same an increment waits for the store of the one before, 0.87 ns a value: zeros, the one value
// that data is full of, are therefore counted apart (half zeros: 0.3 ns).
HWY_INLINE void increment(const uint32_t* bits, size_t n, int shift, uint32_t* HWY_RESTRICT table) {
  size_t i = 0;
  for (; i + 8 <= n; i += 8) {
#pragma GCC unroll 4
    for (size_t k = 0; k < 8; k += 2) {
      uint64_t pair;  // one at a time: GCC loads four of them as vectors for AVX2, 0.39 ns a value
      std::memcpy(&pair, bits + i + k, sizeof pair);
      ++table[static_cast<uint32_t>(pair) >> shift];
      ++table[pair >> (32 + shift)];
    }
  }
  for (; i < n; ++i) ++table[bits[i] >> shift];
}

/// kCount: counts them in the table too. An increment a cycle limits that, so that the scan costs
/// nothing beside it (0.30 ns a value; one after the other 0.39, with AVX2 0.48).
/// While it waits for its stores it hardly looks ahead; asking for what comes next makes values
/// from the third-level cache cost 0.37 ns instead of 0.5.
template <bool kCount>
BlockScan scan_block(const float* HWY_RESTRICT x, size_t n, int shift, uint32_t* HWY_RESTRICT table,
                     const float* next) {
  const Unsigned du;
  const Signed di;
  const size_t lanes = hn::Lanes(du);
  const auto* bits = reinterpret_cast<const uint32_t*>(x);
  auto any = hn::Zero(du), negative = hn::Zero(du), zeros = hn::Zero(du);
  auto magnitude = hn::Set(du, ~uint32_t{0});
  auto positive = hn::Set(di, INT32_MIN);
  for (size_t i = 0; i < n; i += lanes) {
    if constexpr (kCount) {
      if (next != nullptr) hwy::Prefetch(next + i);
    }
    const auto v = hn::LoadU(du, bits + i);
    any = hn::Or(any, v);
    positive = hn::Max(positive, hn::BitCast(di, v));
    negative = hn::Max(negative, v);
    const auto doubled = hn::Add(v, v);                                // without the sign
    magnitude = hn::Min(magnitude, hn::Sub(doubled, hn::Set(du, 1)));  // zero wraps to the largest
    zeros = hn::Sub(zeros, hn::VecFromMask(du, hn::Eq(doubled, hn::Zero(du))));
    if constexpr (kCount) increment(bits + i, lanes, shift, table);
  }
  HWY_ALIGN uint32_t any_lanes[hn::MaxLanes(du)];
  hn::Store(any, du, any_lanes);
  uint32_t all = 0;
  for (size_t i = 0; i < lanes; ++i) all |= any_lanes[i];
  return {all, hn::GetLane(hn::MaxOfLanes(di, positive)), hn::GetLane(hn::MaxOfLanes(du, negative)),
          hn::GetLane(hn::MinOfLanes(du, magnitude)), hn::GetLane(hn::SumOfLanes(du, zeros))};
}

/// One value at a time: for the end of the array, and for blocks with NaN or infinity.
void scan_slowly(const float* x, size_t n, ValueScan& out) {
  for (size_t i = 0; i < n; ++i) {
    const uint32_t bits = bits_of(x[i]), magnitude = bits & ~kSign;
    out.bits_or |= bits;
    if (magnitude >= kInfinity) {
      ++(magnitude == kInfinity ? out.infs : out.nans);
      continue;
    }
    if (magnitude == 0) ++out.zeros;
    const float value = x[i] + 0.0f;  // −0 becomes +0: the result must not depend on their order
    out.min = std::min(out.min, value);
    out.max = std::max(out.max, value);
    if (magnitude != 0) out.smallest_nonzero = std::min(out.smallest_nonzero, float_of(magnitude));
  }
}

/// Adds a block of finite values.
void add_block(const BlockScan& block, ValueScan& out) {
  const bool any_positive = block.positive >= 0, any_negative = block.negative >= kSign;
  const bool any_nonzero = block.magnitude != ~uint32_t{0};
  const float smallest = any_nonzero ? float_of(block.magnitude / 2 + 1) : 0.0f;
  // With one sign only, the extreme nearer to zero is zero itself or the smallest magnitude.
  const float inner = block.zeros > 0 ? 0.0f : smallest;
  const float least = any_negative ? float_of(block.negative) : inner;
  const float most = any_positive ? float_of(static_cast<uint32_t>(block.positive)) : -inner;
  out.min = std::min(out.min, least + 0.0f);
  out.max = std::max(out.max, most + 0.0f);
  if (any_nonzero) out.smallest_nonzero = std::min(out.smallest_nonzero, smallest);
  out.zeros += block.zeros;
  out.bits_or |= block.any;
}

/// Whether an eighth or more of n values is +0, by every 16th vector; a guess is enough.
bool many_zeros(const uint32_t* HWY_RESTRICT bits, size_t n) {
  const Unsigned d;
  auto zeros = hn::Zero(d);
  size_t seen = 0;
  for (size_t i = 0; i + hn::Lanes(d) <= n; i += 16 * hn::Lanes(d), seen += hn::Lanes(d)) {
    zeros = hn::Sub(zeros, hn::VecFromMask(d, hn::Eq(hn::LoadU(d, bits + i), hn::Zero(d))));
  }
  return hn::GetLane(hn::SumOfLanes(d, zeros)) * 8 > seen;
}

#if HWY_TARGET == HWY_AVX2
/// For each mask of 8 lanes the numbers of those that it has.
struct LaneNumbers {
  uint8_t of[256][8] = {};
  constexpr LaneNumbers() {
    for (uint32_t mask = 0; mask < 256; ++mask) {
      for (uint32_t lane = 0, at = 0; lane < 8; ++lane) {
        if ((mask >> lane & 1) != 0) of[mask][at++] = static_cast<uint8_t>(lane);
      }
    }
  }
};

/// Highway 1.0's Compress copies its table by a call of memmove here: ten times as slow.
HWY_INLINE size_t compress(hn::Vec<Unsigned> v, hn::Mask<Unsigned> keep, uint32_t* to) {
  static constexpr LaneNumbers kNumbers;
  const Unsigned d;
  uint8_t mask[8];
  const size_t kept = hn::CountTrue(d, keep);
  hn::StoreMaskBits(d, keep, mask);
  const auto lanes =
      hn::PromoteTo(d, hn::LoadU(hn::Rebind<uint8_t, Unsigned>(), kNumbers.of[*mask]));
  hn::StoreU(hn::TableLookupLanes(v, hn::IndicesFromVec(d, lanes)), d, to);
  return kept;
}
#else
HWY_INLINE size_t compress(hn::Vec<Unsigned> v, hn::Mask<Unsigned> keep, uint32_t* to) {
  hn::StoreU(hn::Compress(v, keep), Unsigned(), to);
  return hn::CountTrue(Unsigned(), keep);
}
#endif

/// Copies all but the +0 among n values, a multiple of the lanes; how many. Writes up to a vector
/// beyond them.
size_t without_zeros(const uint32_t* HWY_RESTRICT bits, size_t n, uint32_t* HWY_RESTRICT to) {
  const Unsigned d;
  size_t kept = 0;
  for (size_t i = 0; i < n; i += hn::Lanes(d)) {
    const auto v = hn::LoadU(d, bits + i);
    kept += compress(v, hn::Ne(v, hn::Zero(d)), to + kept);
  }
  return kept;
}

/// Counts n values, the +0 apart where they are many; n a multiple of the lanes.
bool count_apart(const uint32_t* bits, size_t n, int shift, uint32_t* HWY_RESTRICT table) {
  if (!many_zeros(bits, n)) return false;
  HWY_ALIGN uint32_t others[kBlock + hn::MaxLanes(Unsigned())];
  const size_t kept = without_zeros(bits, n, others);
  table[0] += static_cast<uint32_t>(n - kept);
  increment(others, kept, shift, table);
  return true;
}

template <bool kCount>
ValueScan scan(const float* x, size_t count, int shift, uint32_t* HWY_RESTRICT table,
               const float* next) {
  const size_t lanes = hn::Lanes(Unsigned());
  ValueScan out;
  for (size_t i = 0; i < count;) {
    const auto* bits = reinterpret_cast<const uint32_t*>(x + i);
    const size_t block = HWY_MIN(kBlock, (count - i) / lanes * lanes);
    if (block == 0) {
      if (kCount) increment(bits, count - i, shift, table);
      scan_slowly(x + i, count - i, out);
      break;
    }
    const float* next_block = next == nullptr ? nullptr : next + i;
    const bool counted = !kCount || count_apart(bits, block, shift, table);
    const BlockScan found = counted ? scan_block<false>(x + i, block, shift, table, nullptr)
                                    : scan_block<true>(x + i, block, shift, table, next_block);
    const bool finite =
        found.positive < static_cast<int32_t>(kInfinity) && found.negative < (kSign | kInfinity);
    if (finite) {
      add_block(found, out);
    } else {
      scan_slowly(x + i, block, out);
    }
    i += block;
  }
  return out;
}

}  // namespace

ValueScan ScanValuesKernel(const float* x, int64_t n) {
  return scan<false>(x, static_cast<size_t>(n), 0, nullptr, nullptr);
}

ValueScan ScanAndCountKernel(const float* x, int64_t n, int fine, uint32_t* table,
                             const float* next) {
  return scan<true>(x, static_cast<size_t>(n), 23 - fine, table, next);
}

void CountBucketsKernel(const float* x, int64_t n, int fine, uint32_t* HWY_RESTRICT table) {
  const size_t lanes = hn::Lanes(Unsigned());
  const int shift = 23 - fine;
  for (size_t i = 0, count = static_cast<size_t>(n); i < count; i += kBlock) {
    const size_t block = HWY_MIN(kBlock, count - i), whole = block / lanes * lanes;
    const auto* bits = reinterpret_cast<const uint32_t*>(x + i);
    const size_t done = count_apart(bits, whole, shift, table) ? whole : 0;
    increment(bits + done, block - done, shift, table);
  }
}

void ColumnAbsmaxKernel(const float* x, int64_t rows, int64_t cols, int64_t stride,
                        float* HWY_RESTRICT into) {
  const Floats d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  constexpr int64_t kRows = 8;  // per visit of `into`
  for (int64_t r = 0; r < rows; r += kRows) {
    const int64_t last = HWY_MIN(rows, r + kRows);
    for (int64_t c = 0; c < cols; c += lanes) {
      const auto count = static_cast<size_t>(HWY_MIN(lanes, cols - c));
      const auto before = load_n(d, into + c, count);
      auto most = before;
      for (int64_t i = r; i < last; ++i) {
        const auto v = hn::Abs(load_n(d, x + i * stride + c, count));
        most = hn::IfThenElse(hn::Gt(v, most), v, most);  // false for NaN
      }
      // Seldom: what is not written need not go back to memory (0.8 MB a state of Mamba-2).
      if (!hn::AllFalse(d, hn::Gt(most, before))) store_n(most, d, into + c, count);
    }
  }
}

void ColumnAbssumKernel(const float* x, int64_t rows, int64_t cols, int64_t stride,
                        double* HWY_RESTRICT sum) {
  const hn::ScalableTag<double> d;
  const hn::Rebind<float, decltype(d)> df;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  constexpr int64_t kRows = 8;  // per visit of `sum`, added in order
  for (int64_t r = 0; r < rows; r += kRows) {
    const int64_t last = HWY_MIN(rows, r + kRows);
    for (int64_t c = 0; c < cols; c += lanes) {
      const auto count = static_cast<size_t>(HWY_MIN(lanes, cols - c));
      auto total = load_n(d, sum + c, count);
      for (int64_t i = r; i < last; ++i) {
        const auto v = hn::Abs(load_n(df, x + i * stride + c, count));
        total = hn::Add(total, hn::PromoteTo(d, v));
      }
      store_n(total, d, sum + c, count);
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace scute
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace scute {

HWY_EXPORT(CountBucketsKernel);
HWY_EXPORT(ScanValuesKernel);
HWY_EXPORT(ScanAndCountKernel);
HWY_EXPORT(ColumnAbsmaxKernel);
HWY_EXPORT(ColumnAbssumKernel);

void ValueScan::merge(const ValueScan& other) {
  min = std::min(min, other.min);
  max = std::max(max, other.max);
  smallest_nonzero = std::min(smallest_nonzero, other.smallest_nonzero);
  zeros += other.zeros;
  nans += other.nans;
  infs += other.infs;
  bits_or |= other.bits_or;
}

void count_buckets(const float* x, int64_t n, int fine, uint32_t* table) noexcept {
  HWY_DYNAMIC_DISPATCH(CountBucketsKernel)(x, n, fine, table);
}

ValueScan scan_and_count(const float* x, int64_t n, int fine, uint32_t* table,
                         const float* next) noexcept {
  return HWY_DYNAMIC_DISPATCH(ScanAndCountKernel)(x, n, fine, table, next);
}

ValueScan scan_values(const float* x, int64_t n) noexcept {
  return HWY_DYNAMIC_DISPATCH(ScanValuesKernel)(x, n);
}

void column_absmax(const float* x, int64_t rows, int64_t cols, int64_t stride,
                   float* into) noexcept {
  HWY_DYNAMIC_DISPATCH(ColumnAbsmaxKernel)(x, rows, cols, stride, into);
}

void column_abssum(const float* x, int64_t rows, int64_t cols, int64_t stride,
                   double* sum) noexcept {
  HWY_DYNAMIC_DISPATCH(ColumnAbssumKernel)(x, rows, cols, stride, sum);
}

}  // namespace scute
#endif  // HWY_ONCE
