#include "scute/kernels/gemm_highway.h"

#include <algorithm>
#include <memory>
#include <type_traits>
#include <vector>

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

/// Panels outside, rows inside: a panel (K · 128 bytes) stays in the second-level cache meanwhile.
template <class W>
HWY_INLINE void multiply(MatView<const float> x, const W* panels, MatView<float> y) {
  for (int64_t first = 0; first < y.cols; first += kPanel) {
    multiply_panel<Start::kZero>(x, panels + first * x.cols, y, first);
  }
}

void multiply_f32(MatView<const float> x, const float* panels, MatView<float> y) {
  multiply(x, panels, y);
}
void multiply_bf16(MatView<const float> x, const uint16_t* panels, MatView<float> y) {
  multiply(x, panels, y);
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
HWY_EXPORT(round_floats);
HWY_EXPORT(round_halves);
HWY_EXPORT(target);

constexpr int64_t kPanel = HWY_STATIC_DISPATCH(kPanel);
// Rows that share one pass over the weights: a multiple of every kRows, and enough for 60
// operations per byte of weights.
constexpr int64_t kChunk = 120;

template <class W>
W packed(float value) {
  if constexpr (std::is_same_v<W, float>) {
    return value;
  } else {
    return to_bf16(value);
  }
}

/// panels[p][k][j] = weight[32·p + j][k], zero where there is no such output.
template <class W>
Tensor pack(const Tensor& weight) {
  const int64_t outputs = weight.dim(0), inputs = weight.dim(1);
  const int64_t panels = (outputs + kPanel - 1) / kPanel;
  Tensor all(dtype_of<W>(), {panels, inputs, kPanel});
  const auto to = all.mutable_values<W>();
  std::vector<float> row(static_cast<size_t>(inputs));
  for (int64_t o = 0; o < outputs; ++o) {
    widen_row(weight, o, row.data());
    W* column = to.data() + o / kPanel * kPanel * inputs + o % kPanel;
    for (int64_t k = 0; k < inputs; ++k) {
      column[k * kPanel] = packed<W>(row[static_cast<size_t>(k)]);
    }
  }
  return all;
}

struct HighwayF32 final : Gemm::Impl {
  explicit HighwayF32(const Tensor& weight) : panels(pack<float>(weight)) {}

  void multiply(MatView<const float> x, MatView<float> y) const noexcept override {
    const float* weights = panels.values<float>().data();
    for (int64_t row = 0; row < x.rows; row += kChunk) {
      const int64_t rows = std::min(kChunk, x.rows - row);
      HWY_DYNAMIC_DISPATCH(multiply_f32)
      (x.slice_rows(row, rows), weights, y.slice_rows(row, rows));
    }
  }
  std::string_view name() const override { return "highway f32"; }
  int64_t bytes() const override { return static_cast<int64_t>(panels.bytes().size()); }

  Tensor panels;
};

/// The same products of rounded factors: a product of two bf16 is exact in f32.
struct HighwayBf16 final : Gemm::Impl {
  explicit HighwayBf16(const Tensor& weight) : panels(pack<bf16>(weight)) {}

  void multiply(MatView<const float> x, MatView<float> y) const noexcept override {
    const auto* weights = reinterpret_cast<const uint16_t*>(panels.values<bf16>().data());
    const int64_t most = std::min(kChunk, x.rows);
    const auto scratch =
        std::make_unique_for_overwrite<float[]>(static_cast<size_t>(most * x.cols));
    for (int64_t row = 0; row < x.rows; row += kChunk) {
      const MatView<float> rounded(scratch.get(), std::min(kChunk, x.rows - row), x.cols);
      for (int64_t r = 0; r < rounded.rows; ++r) {
        HWY_DYNAMIC_DISPATCH(round_floats)(x.row(row + r), x.cols, rounded.row(r));
      }
      HWY_DYNAMIC_DISPATCH(multiply_bf16)(rounded, weights, y.slice_rows(row, rounded.rows));
    }
  }
  std::string_view name() const override { return "highway bf16"; }
  int64_t bytes() const override { return static_cast<int64_t>(panels.bytes().size()); }

  Tensor panels;
};

}  // namespace

std::shared_ptr<const Gemm::Impl> make_highway_gemm(const Tensor& weight, Compute compute) {
  if (compute == Compute::bf16) return std::make_shared<HighwayBf16>(weight);
  return std::make_shared<HighwayF32>(weight);
}

void round_to_bf16(const float* x, int64_t n, uint16_t* out) noexcept {
  HWY_DYNAMIC_DISPATCH(round_halves)(x, n, out);
}

std::string_view highway_target() { return HWY_DYNAMIC_DISPATCH(target)(); }

}  // namespace scute
#endif
