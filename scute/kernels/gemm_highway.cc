#include "scute/kernels/gemm_highway.h"

#include <algorithm>
#include <memory>
#include <type_traits>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "scute/kernels/gemm_highway.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "hwy/highway.h"
#include "scute/kernels/gemm_block-inl.h"

HWY_BEFORE_NAMESPACE();
namespace scute {
namespace HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;

// Rows that share one pass over the weights: enough for 60 operations per byte of weights.
constexpr int64_t kChunk = 120;
// Inputs of these rows that stay in the second-level cache, 480 KB, while all panels pass.
constexpr int64_t kPass = 1024;
// Rounded inputs on the stack, of 4 bytes each.
constexpr int64_t kScratch = 32768;

/// Rows of equal parts of `rows`, of at most `most` each: 64 and 64, not 120 and 8.
HWY_INLINE int64_t chunk_of(int64_t rows, int64_t most) {
  const int64_t parts = (rows + most - 1) / most, each = (rows + parts - 1) / parts;
  return std::min(most, (each + kRows - 1) / kRows * kRows);
}

/// How many steps are added up together, and how their sums meet those before.
struct Blocks {
  int64_t steps;
  Into later;
};

/// Steps [done, done + x.cols) of all, by all panels, which begin `apart` steps from each other.
template <class X, class W>
HWY_INLINE void multiply_steps(MatView<const X> x, int64_t done, const W* panels, int64_t apart,
                               MatView<float> y, Blocks blocks) {
  for (int64_t first = 0; first < y.cols; first += kPanel) {
    const W* panel = panels + (first / kPanel * apart + done) * kPanel;
    const bool last = first + kPanel >= y.cols;
    const auto out = y.columns(first, std::min(kPanel, y.cols - first));
    for (int64_t k = 0; k == 0 || k < x.cols; k += blocks.steps) {
      const Finish finish{done + k == 0 ? Into::kFresh : blocks.later};
      const W* weights = panel + k * kPanel;
      multiply_panel(x.columns(k, std::min(blocks.steps, x.cols - k)), weights, out, finish,
                     last ? nullptr : weights + apart * kPanel);
    }
  }
}

/// AVX-512 adds up blocks of 512 inputs, or 1024 of more than 1024, each from zero (decision 4).
/// The others run through all.
HWY_INLINE Blocks blocks_of(int64_t inputs) {
#if HWY_TARGET <= HWY_AVX3
  return {inputs > 1024 ? 1024 : 512, Into::kAdded};
#else
  (void)inputs;
  return {kPass, Into::kResumed};
#endif
}

void multiply_f32(MatView<const float> x, const float* panels, MatView<float> y) {
  const int64_t chunk = chunk_of(x.rows, kChunk);
  // A few rows see each panel to its end, so that weights are read in order.
  const int64_t pass = x.rows <= kRows ? std::max(kPass, x.cols) : kPass;
  for (int64_t row = 0; row < x.rows; row += chunk) {
    const int64_t rows = std::min(chunk, x.rows - row);
    for (int64_t k = 0; k == 0 || k < x.cols; k += pass) {
      const auto in = x.slice_rows(row, rows).columns(k, std::min(pass, x.cols - k));
      multiply_steps(in, k, panels, x.cols, y.slice_rows(row, rows), blocks_of(x.cols));
    }
  }
}

/// Rows in chunks, rounded as many steps at a time as there is room for: a multiple of the block's.
/// round(row, first, count, to) writes `count` steps.
template <class X, class W, class Round>
HWY_INLINE void multiply_rounded(int64_t rows, int64_t steps, const W* panels, MatView<float> y,
                                 Blocks blocks, const Round& round) {
  static_assert(sizeof(X) == 4);
  HWY_ALIGN X scratch[kScratch];
  const int64_t chunk = chunk_of(rows, std::min(kChunk, kScratch / blocks.steps));
  for (int64_t row = 0; row < rows; row += chunk) {
    const int64_t count = std::min(chunk, rows - row);
    const int64_t room = kScratch / count / blocks.steps * blocks.steps;
    for (int64_t k = 0; k == 0 || k < steps; k += room) {
      const MatView<X> rounded(scratch, count, std::min(room, steps - k));
      for (int64_t r = 0; r < count; ++r) round(row + r, k, rounded.cols, rounded.row(r));
      multiply_steps<X>(rounded, k, panels, steps, y.slice_rows(row, count), blocks);
    }
  }
}

/// Nearest even in the upper half of the bits, the lower half cleared; NaN becomes quiet.
HWY_INLINE hn::Vec<DBits> rounded_bits(V x) {
  const DBits bits;
  const auto u = hn::BitCast(bits, x);
  const auto odd = hn::And(hn::ShiftRight<16>(u), hn::Set(bits, 1));
  const auto rounded = hn::Add(u, hn::Add(odd, hn::Set(bits, 0x7fff)));
  const auto quiet = hn::Or(u, hn::Set(bits, 0x400000));
  const auto nan = hn::RebindMask(bits, hn::IsNaN(x));
  return hn::And(hn::IfThenElse(nan, quiet, rounded), hn::Set(bits, 0xffff0000u));
}

void round_floats(const float* x, int64_t n, float* out) {
  const D d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  int64_t i = 0;
  for (; i + lanes <= n; i += lanes) {
    hn::StoreU(hn::BitCast(d, rounded_bits(hn::LoadU(d, x + i))), d, out + i);
  }
  for (; i < n; ++i) out[i] = to_float(to_bf16(x[i]));
}

void round_halves(const float* x, int64_t n, uint16_t* out) {
  const D d;
  const hn::Rebind<int32_t, D> words;
  const hn::Rebind<int16_t, D> halves;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  int64_t i = 0;
  for (; i + lanes <= n; i += lanes) {
    // The arithmetic shift leaves values in the range of int16, so the saturating DemoteTo is
    // exact.
    const auto upper = hn::ShiftRight<16>(hn::BitCast(words, rounded_bits(hn::LoadU(d, x + i))));
    hn::StoreU(hn::DemoteTo(halves, upper), halves, reinterpret_cast<int16_t*>(out + i));
  }
  for (; i < n; ++i) out[i] = to_bf16(x[i]).bits;
}

/// The same products of rounded factors: a product of two bf16 is exact in f32.
void multiply_bf16(MatView<const float> x, const uint16_t* panels, MatView<float> y) {
  const Blocks blocks{256, Into::kResumed};
  multiply_rounded<float>(x.rows, x.cols, panels, y, blocks,
                          [x](int64_t row, int64_t first, int64_t count, float* to) {
                            round_floats(x.row(row) + first, count, to);
                          });
}

/// By the processor's own sums of two products, in the same blocks.
void multiply_pairs(MatView<const float> x, const uint16_t* panels, MatView<float> y) {
#if HWY_TARGET <= HWY_AVX3
  const int64_t steps = (x.cols + 1) / 2;
  const Blocks blocks{(x.cols > 1024 ? 1024 : 512) / 2, Into::kAdded};
  multiply_rounded<Pair>(x.rows, steps, reinterpret_cast<const Pair*>(panels), y, blocks,
                         [x](int64_t row, int64_t first, int64_t count, Pair* to) {
                           const int64_t inputs = std::min(2 * count, x.cols - 2 * first);
                           to[count - 1].odd = 0;
                           round_halves(x.row(row) + 2 * first, inputs, &to->even);
                         });
#else
  (void)x, (void)panels, (void)y;  // never called: has_pairs() says no
#endif
}

/// Whether this instruction set may come with AVX512_BF16.
bool has_pairs() { return HWY_TARGET <= HWY_AVX3; }

const char* target() { return hwy::TargetName(HWY_TARGET); }

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace scute
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace scute {
namespace {

HWY_EXPORT(multiply_f32);
HWY_EXPORT(multiply_bf16);
HWY_EXPORT(multiply_pairs);
HWY_EXPORT(has_pairs);
HWY_EXPORT(round_halves);
HWY_EXPORT(target);

constexpr int64_t kPanel = HWY_STATIC_DISPATCH(kPanel);
// Inputs of a square of weights that are packed at once.
constexpr int64_t kSide = 64;

/// Rounded on the way where W is bf16.
template <class W>
void widen_or_round(const Tensor& weight, int64_t row, int64_t first, int64_t count, W* to) {
  if constexpr (std::is_same_v<W, float>) {
    widen_row(weight, row, first, count, to);
  } else {
    float floats[kSide];
    widen_row(weight, row, first, count, floats);
    round_to_bf16(floats, count, reinterpret_cast<uint16_t*>(to));
  }
}

/// panels[p][k / kGroup][j][k % kGroup] = weight[32·p + j][k], zero where there is no such output
/// or input. By squares, so that both sides stay in the first-level cache.
template <class W, int64_t kGroup>
Tensor pack(const Tensor& weight, int64_t step_unit = 1) {
  const int64_t outputs = weight.dim(0), inputs = weight.dim(1);
  const int64_t panels = (outputs + kPanel - 1) / kPanel, unit = kGroup * step_unit;
  const int64_t steps = (inputs + unit - 1) / unit * step_unit;
  Tensor all(dtype_of<W>(), {panels, steps, kPanel * kGroup});
  W* to = all.mutable_values<W>().data();
  W row[kSide];
  for (int64_t o = 0; o < outputs; o += kPanel) {
    for (int64_t first = 0; first < inputs; first += kSide) {
      const int64_t count = std::min(kSide, inputs - first);
      for (int64_t j = 0; j < std::min(kPanel, outputs - o); ++j) {
        widen_or_round(weight, o + j, first, count, row);
        W* column = to + first * kPanel + j * kGroup;  // kSide is a multiple of kGroup
        for (int64_t k = 0; k < count; ++k)
          column[k / kGroup * kPanel * kGroup + k % kGroup] = row[k];
      }
    }
    to += steps * kPanel * kGroup;
  }
  return all;
}

struct HighwayF32 final : Gemm::Impl {
  explicit HighwayF32(const Tensor& weight) : panels(pack<float, 1>(weight)) {}

  void multiply(int64_t first, MatView<const float> x, MatView<float> y) const noexcept override {
    HWY_DYNAMIC_DISPATCH(multiply_f32)(x, panels.values<float>().data() + first * x.cols, y);
  }
  std::string_view name() const override { return "highway f32"; }
  int64_t bytes() const override { return static_cast<int64_t>(panels.bytes().size()); }

  Tensor panels;
};

struct HighwayBf16 final : Gemm::Impl {
  HighwayBf16(const Tensor& weight, bool in_pairs)
      : pairs(in_pairs), panels(in_pairs ? pack<bf16, 2>(weight) : pack<bf16, 1>(weight)) {}

  void multiply(int64_t first, MatView<const float> x, MatView<float> y) const noexcept override {
    const auto* weights = reinterpret_cast<const uint16_t*>(panels.values<bf16>().data());
    if (pairs) {
      HWY_DYNAMIC_DISPATCH(multiply_pairs)(x, weights + first * ((x.cols + 1) / 2 * 2), y);
    } else {
      HWY_DYNAMIC_DISPATCH(multiply_bf16)(x, weights + first * x.cols, y);
    }
  }
  std::string_view name() const override { return pairs ? "highway bf16 pairs" : "highway bf16"; }
  int64_t bytes() const override { return static_cast<int64_t>(panels.bytes().size()); }

  bool pairs;
  Tensor panels;
};

bool multiplies_pairs() {
#if HWY_ARCH_X86
  return HWY_DYNAMIC_DISPATCH(has_pairs)() && __builtin_cpu_supports("avx512bf16");
#else
  return false;
#endif
}

}  // namespace

std::shared_ptr<const Gemm::Impl> make_highway_gemm(const Tensor& weight, Compute compute) {
  if (compute == Compute::bf16) return std::make_shared<HighwayBf16>(weight, multiplies_pairs());
  return std::make_shared<HighwayF32>(weight);
}

Tensor pack_pairs(const Tensor& weight, int64_t unit) { return pack<bf16, 2>(weight, unit); }

void round_to_bf16(const float* x, int64_t n, uint16_t* out) noexcept {
  HWY_DYNAMIC_DISPATCH(round_halves)(x, n, out);
}

std::string_view highway_target() { return HWY_DYNAMIC_DISPATCH(target)(); }

}  // namespace scute
#endif
