#include <algorithm>
#include <array>
#include <cmath>

#include "scute/base/portable_math.h"
#include "scute/kernels/fixed_point.h"
#include "scute/kernels/fixed_point_impl.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "scute/kernels/fixed_point_windows.cc"
#include "hwy/foreach_target.h"
// After foreach_target.h.
#include "hwy/highway.h"
#include "scute/kernels/fixed_point-inl.h"

HWY_BEFORE_NAMESPACE();
namespace scute {
namespace HWY_NAMESPACE {
namespace {

/// σ of the codes in int32, lane by lane; as fixed_sigmoid().
template <class DWords>
HWY_INLINE hn::Vec<DWords> sigmoid(DWords d, hn::Vec<DWords> code, const SigmoidSteps& steps) {
  const auto limit = hn::Set(d, steps.limit);
  const auto cut = hn::Min(hn::Max(code, hn::Neg(limit)), limit);
  const auto place = hn::ShiftLeftSame(cut, steps.left);
  const auto index = hn::ShiftRightSame(place, steps.right);
  const auto entry = hn::GatherIndex(d, steps.middle, index);
  const auto value = hn::And(entry, hn::Set(d, 0xffff));
  if (steps.right == 0) return value;
  const auto rest = hn::Sub(place, hn::ShiftLeftSame(index, steps.right));
  const auto slope = hn::ShiftRight<16>(entry);
  const auto rise = hn::Add(hn::Mul(slope, rest), hn::Set(d, steps.half));
  return hn::Add(value, hn::ShiftRightSame(rise, steps.right));
}

/// Channels [c, c + count) of all windows. Weights become doubles once for all of them.
HWY_INLINE void convolve_channels(const FixedConv& conv, MatView<const int16_t> x, int64_t length,
                                  int64_t c, size_t count, MatView<int16_t> y) {
  constexpr int64_t kMostTaps = 64;
  HWY_ALIGN double weight[kMostTaps * hn::MaxLanes(D())];
  const auto lanes = static_cast<int64_t>(hn::Lanes(D()));
  for (int64_t k = 0; k < conv.taps; ++k) {
    hn::Store(load_double(conv.weight + k * x.cols + c, count), D(), weight + k * lanes);
  }
  const V bias = load_n(D(), conv.bias + c, count), factor = load_n(D(), conv.factor + c, count);
  const Saturate saturate(16);
  for (int64_t window = 0; window < x.rows; window += length) {
    for (int64_t l = 0; l < length; ++l) {
      const int64_t first = HWY_MAX(int64_t{0}, conv.before - l);
      const int64_t end = HWY_MIN(conv.taps, length + conv.before - l);
      V sum = bias;  // what is added is below 64 · 2^30: exact
      const int16_t* from = x.row(window + l + first - conv.before) + c;
      for (int64_t k = first; k < end; ++k, from += x.stride) {
        sum = hn::Add(sum, hn::Mul(hn::Load(D(), weight + k * lanes), load_double(from, count)));
      }
      store_rounded(hn::Mul(sum, factor), saturate, y.row(window + l) + c, count);
    }
  }
}

/// (leak·s + (65536 − leak)·u) / 65536, half to even. Between s and u, so that the sum is within
/// −2^31 … 2^31 − 2^16 and leaves room for what rounds it.
template <class DWords>
HWY_INLINE hn::Vec<DWords> leaky_mean(DWords d, hn::Vec<DWords> leak, hn::Vec<DWords> s,
                                      hn::Vec<DWords> u) {
  const auto rest = hn::Sub(hn::Set(d, 65536), leak);
  const auto sum = hn::Add(hn::Mul(leak, s), hn::Mul(rest, u));
  const auto odd = hn::And(hn::ShiftRight<16>(sum), hn::Set(d, 1));
  return hn::ShiftRight<16>(hn::Add(sum, hn::Add(hn::Set(d, 0x7fff), odd)));
}

}  // namespace

void FixedWindowConvKernel(const FixedConv& conv, MatView<const int16_t> x, int64_t length,
                           MatView<int16_t> y) {
  const auto act = [&](int64_t, int64_t c, size_t count)
                       HWY_ATTR { convolve_channels(conv, x, length, c, count, y); };
  each_run(1, x.cols, act);
}

void FixedSiluKernel(MatView<const int16_t> x, const SigmoidSteps& steps, double factor,
                     MatView<int16_t> y) {
  const Saturate saturate(16);
  const V scale = hn::Set(D(), factor);
  const auto act = [&](int64_t r, int64_t c, size_t count) HWY_ATTR {
    const auto code = load_words(x.row(r) + c, count);
    // At most 2^15 · 65514 < 2^31.
    const auto product = hn::Mul(code, sigmoid(Words(), code, steps));
    store_rounded(hn::Mul(hn::PromoteTo(D(), product), scale), saturate, y.row(r) + c, count);
  };
  each_run(x.rows, x.cols, act);
}

void FixedWindowMeanScanKernel(MatView<const int16_t> x, MatView<const int16_t> logit,
                               const SigmoidSteps& steps, int64_t length, MatView<int16_t> y) {
  const hn::CappedTag<int32_t, 16> d;
  const hn::Rebind<int16_t, decltype(d)> codes;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  for (int64_t first = 0; first < x.rows; first += length) {
    for (int64_t c = 0; c < x.cols; c += lanes) {
      const auto count = static_cast<size_t>(HWY_MIN(lanes, x.cols - c));
      auto s = hn::Zero(d);
      for (int64_t r = first; r < first + length; ++r) {
        const auto u = hn::PromoteTo(d, load_n(codes, x.row(r) + c, count));
        const auto a = hn::PromoteTo(d, load_n(codes, logit.row(r) + c, count));
        s = leaky_mean(d, sigmoid(d, a, steps), s, u);
        store_n(hn::DemoteTo(codes, s), codes, y.row(r) + c, count);
      }
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace scute
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace scute {

HWY_EXPORT(FixedWindowConvKernel);
HWY_EXPORT(FixedSiluKernel);
HWY_EXPORT(FixedWindowMeanScanKernel);

namespace {

/// Entry i of the table in the lower 16 bits, what the next one adds to it above.
std::array<int32_t, 4097> make_entries() {
  const SigmoidTable& table = sigmoid_table();
  std::array<int32_t, 4097> entries{};
  for (size_t i = 0; i < entries.size(); ++i) {
    const int next = table[std::min(i + 1, table.size() - 1)];
    entries[i] = table[i] | (next - table[i]) << 16;
  }
  return entries;
}

SigmoidSteps sigmoid_steps(int fraction) {
  static const std::array<int32_t, 4097> entries = make_entries();
  const int left = std::max(0, 8 - fraction), right = std::max(0, fraction - 8);
  const int32_t half = right == 0 ? 0 : 1 << (right - 1);
  return {entries.data() + 2048, left, right, half, 8 << fraction};
}

}  // namespace

const SigmoidTable& sigmoid_table() {
  static const SigmoidTable table = [] {
    SigmoidTable t{};
    for (size_t i = 0; i < t.size(); ++i) {
      const double x = (static_cast<double>(i) - 2048) / 256;
      t[i] = static_cast<uint16_t>(std::llround(65536 / (1 + portable::exp(-x))));
    }
    return t;
  }();
  return table;
}

uint16_t fixed_sigmoid(int16_t code, int fraction) noexcept {
  const SigmoidSteps steps = sigmoid_steps(fraction);
  const int32_t place = std::clamp<int32_t>(code, -steps.limit, steps.limit) * (1 << steps.left);
  const int32_t index = place >> steps.right;
  const int32_t entry = steps.middle[index], rest = place - index * (1 << steps.right);
  const int32_t rise = (entry >> 16) * rest + steps.half;
  return static_cast<uint16_t>((entry & 0xffff) + (rise >> steps.right));
}

void fixed_window_conv(const FixedConv& conv, MatView<const int16_t> x, int64_t length,
                       MatView<int16_t> y) noexcept {
  HWY_DYNAMIC_DISPATCH(FixedWindowConvKernel)(conv, x, length, y);
}

void fixed_silu(MatView<const int16_t> x, int fraction, double factor,
                MatView<int16_t> y) noexcept {
  HWY_DYNAMIC_DISPATCH(FixedSiluKernel)(x, sigmoid_steps(fraction), factor, y);
}

void fixed_window_mean_scan(MatView<const int16_t> x, MatView<const int16_t> logit, int fraction,
                            int64_t length, MatView<int16_t> y) noexcept {
  HWY_DYNAMIC_DISPATCH(FixedWindowMeanScanKernel)(x, logit, sigmoid_steps(fraction), length, y);
}

}  // namespace scute
#endif  // HWY_ONCE
