#include "scute/kernels/gemm_int4.h"

#include <algorithm>
#include <string>

#include "scute/base/error.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "scute/kernels/gemm_int4.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "hwy/highway.h"
#include "scute/kernels/gemm_block-inl.h"

HWY_BEFORE_NAMESPACE();
namespace scute {
namespace HWY_NAMESPACE {
namespace {

/// Bytes of one input of a panel: byte j holds the code of output j below that of output j + 16.
constexpr int64_t kHalf = kPanel / 2;
/// Inputs widened at a time: 16 KB of floats, half of a first-level cache.
constexpr int64_t kInputs = 128;

using DInt = hn::RebindToSigned<D>;
using DByte = hn::Rebind<int8_t, DInt>;

/// The lower and the upper code of each of a vector of bytes.
struct Codes {
  V low, high;
};
HWY_INLINE Codes load_codes(const int8_t* w) {
  const auto both = hn::PromoteTo(DInt(), hn::LoadU(DByte(), w));
  return {hn::ConvertTo(D(), hn::ShiftRight<28>(hn::ShiftLeft<28>(both))),
          hn::ConvertTo(D(), hn::ShiftRight<4>(both))};
}

/// Panels of codes and their scales, 32 for each group of inputs.
struct Panels {
  const int8_t* codes;
  const float* scales;
  int64_t inputs, group;

  Panels from(int64_t panel) const {
    return {codes + panel * inputs * kHalf, scales + panel * (inputs / group) * kPanel, inputs,
            group};
  }
};

/// out[k − first][j] = code · scale for the inputs [first, first + count) of the first panel.
HWY_INLINE void widen(const Panels& panel, int64_t first, int64_t count, float* HWY_RESTRICT out) {
  const D d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  for (int64_t k = first; k < first + count;) {
    const int64_t group = k / panel.group;
    const int64_t end = std::min(first + count, (group + 1) * panel.group);
    const float* scales = panel.scales + group * kPanel;
    for (int64_t j = 0; j < kHalf; j += lanes) {
      const V low = hn::LoadU(d, scales + j), high = hn::LoadU(d, scales + kHalf + j);
      for (int64_t i = k; i < end; ++i) {
        const Codes codes = load_codes(panel.codes + i * kHalf + j);
        float* to = out + (i - first) * kPanel + j;
        hn::StoreU(hn::Mul(codes.low, low), d, to);
        hn::StoreU(hn::Mul(codes.high, high), d, to + kHalf);
      }
    }
    k = end;
  }
}

/// Panels outside, blocks of inputs inside, then all rows.
void multiply(MatView<const float> x, const int8_t* codes, const float* scales, int64_t group,
              MatView<float> y) {
  const Panels all{codes, scales, x.cols, group};
  HWY_ALIGN float weights[kInputs * kPanel];
  for (int64_t first = 0; first < y.cols; first += kPanel) {
    const Panels panel = all.from(first / kPanel);
    for (int64_t k = 0; k < x.cols; k += kInputs) {
      const int64_t count = std::min(kInputs, x.cols - k);
      widen(panel, k, count, weights);
      if (k == 0) {
        multiply_panel<Start::kZero>(x.columns(k, count), weights, y, first);
      } else {
        multiply_panel<Start::kSums>(x.columns(k, count), weights, y, first);
      }
    }
  }
}

/// The sums of N pairs of vectors of outputs, and the scales of one group.
template <int64_t N>
struct Row {
  V low[N], high[N], low_scale[N], high_scale[N];
};

/// Adds the products of the inputs of one group; codes: of its first input, `next` bytes from panel
/// to panel.
template <int64_t P, int64_t N>
HWY_INLINE void add_group(const float* HWY_RESTRICT x, int64_t inputs,
                          const int8_t* HWY_RESTRICT codes, int64_t next, Row<P * N>& row) {
  const D d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  for (int64_t k = 0; k < inputs; ++k, codes += kHalf) {
    const V value = hn::Set(d, x[k]);
    for (int64_t i = 0; i < P * N; ++i) {
      const Codes both = load_codes(codes + i / N * next + i % N * lanes);
      row.low[i] = hn::MulAdd(value, hn::Mul(both.low, row.low_scale[i]), row.low[i]);
      row.high[i] = hn::MulAdd(value, hn::Mul(both.high, row.high_scale[i]), row.high[i]);
    }
  }
}

/// P panels for a single row, widened in registers: the same products in the same order. y: the
/// `outputs` > 32·(P − 1) that remain.
template <int64_t P>
HWY_INLINE void multiply_row_by(const float* x, const Panels& panels, float* y, int64_t outputs) {
  const D d;
  constexpr int64_t kLanes = hn::MaxLanes(D()), kVectors = kHalf / kLanes;
  const int64_t groups = panels.inputs / panels.group;
  Row<P * kVectors> row;
  for (int64_t i = 0; i < P * kVectors; ++i) row.low[i] = row.high[i] = hn::Zero(d);
  for (int64_t g = 0; g < groups; ++g) {
    for (int64_t i = 0; i < P * kVectors; ++i) {
      const int64_t panel = i / kVectors, first = i % kVectors * kLanes;
      const float* scales = panels.scales + (panel * groups + g) * kPanel + first;
      row.low_scale[i] = hn::LoadU(d, scales);
      row.high_scale[i] = hn::LoadU(d, scales + kHalf);
    }
    add_group<P, kVectors>(x + g * panels.group, panels.group,
                           panels.codes + g * panels.group * kHalf, panels.inputs * kHalf, row);
  }
  for (int64_t i = 0; i < P * kVectors; ++i) {
    const int64_t first = i / kVectors * kPanel + i % kVectors * kLanes;
    if (first < outputs) store(row.low[i], y + first, outputs - first);
    if (first + kHalf < outputs) store(row.high[i], y + first + kHalf, outputs - first - kHalf);
  }
}

// Panels that a single row meets at once: with 16 lanes one panel has but two sums, which wait for
// each other's additions.
constexpr int64_t kTogether = hn::MaxLanes(D()) >= 16 ? 2 : 1;

void multiply_row(MatView<const float> x, const int8_t* codes, const float* scales, int64_t group,
                  MatView<float> y) {
  const Panels all{codes, scales, x.cols, group};
  for (int64_t first = 0; first < y.cols; first += kTogether * kPanel) {
    const Panels panels = all.from(first / kPanel);
    if (y.cols - first > (kTogether - 1) * kPanel) {
      multiply_row_by<kTogether>(x.data, panels, y.data + first, y.cols - first);
    } else {
      multiply_row_by<1>(x.data, panels, y.data + first, y.cols - first);
    }
  }
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace scute
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace scute {
namespace {

HWY_EXPORT(multiply);
HWY_EXPORT(multiply_row);

constexpr int64_t kPanel = HWY_STATIC_DISPATCH(kPanel), kHalf = kPanel / 2;
// Rows that share the widened codes: a multiple of every register block.
constexpr int64_t kChunk = 120;

int64_t panels_of(int64_t outputs) { return (outputs + kPanel - 1) / kPanel; }

void check(const Tensor& codes, const Tensor& scales, int64_t group) {
  if (codes.rank() != 2) fail("GemmInt4 codes", "outputs × inputs", to_string(codes.shape()));
  if (codes.dtype() != DType::i8) fail("GemmInt4 codes", "I8", name_of(codes.dtype()));
  if (group < 1 || codes.dim(1) % group != 0) {
    fail("GemmInt4 group", "a divisor of " + std::to_string(codes.dim(1)) + " inputs",
         std::to_string(group));
  }
  const Shape shape{codes.dim(0), codes.dim(1) / group};
  if (scales.shape() != shape) fail("GemmInt4 scales", to_string(shape), to_string(scales.shape()));
  if (scales.dtype() != DType::f32) fail("GemmInt4 scales", "F32", name_of(scales.dtype()));
  for (const int8_t code : codes.values<int8_t>()) {
    if (code < -8 || code > 7) fail("GemmInt4 codes", "-8 … 7", std::to_string(code));
  }
}

/// packed[p][k][j] = codes[32·p + j][k] in the lower, codes[32·p + j + 16][k] in the upper 4 bits;
/// zero where there is no such output.
Tensor pack_codes(const Tensor& codes) {
  const int64_t outputs = codes.dim(0), inputs = codes.dim(1);
  Tensor packed(DType::i8, {panels_of(outputs), inputs, kHalf});
  const auto to = packed.mutable_values<int8_t>();
  const auto from = codes.values<int8_t>();
  for (int64_t o = 0; o < outputs; ++o) {
    const int8_t* row = from.data() + o * inputs;
    int8_t* column = to.data() + o / kPanel * kHalf * inputs + o % kHalf;
    const int shift = o % kPanel < kHalf ? 0 : 4;
    for (int64_t k = 0; k < inputs; ++k) {
      int8_t& both = column[k * kHalf];
      both = static_cast<int8_t>(both | (row[k] & 15) << shift);
    }
  }
  return packed;
}

/// packed[p][g][j] = scales[32·p + j][g], zero where there is no such output.
Tensor pack_scales(const Tensor& scales) {
  const int64_t outputs = scales.dim(0), groups = scales.dim(1);
  Tensor packed(DType::f32, {panels_of(outputs), groups, kPanel});
  const auto to = packed.mutable_values<float>();
  const auto from = scales.values<float>();
  for (int64_t o = 0; o < outputs; ++o) {
    float* column = to.data() + o / kPanel * kPanel * groups + o % kPanel;
    for (int64_t g = 0; g < groups; ++g)
      column[g * kPanel] = from[static_cast<size_t>(o * groups + g)];
  }
  return packed;
}

}  // namespace

struct GemmInt4::Impl {
  Tensor codes, scales;
  int64_t group;
};

GemmInt4::GemmInt4(const Tensor& codes, const Tensor& scales, int64_t group) {
  check(codes, scales, group);
  outputs_ = codes.dim(0);
  inputs_ = codes.dim(1);
  impl_ = std::make_shared<Impl>(Impl{pack_codes(codes), pack_scales(scales), group});
}

void GemmInt4::operator()(MatView<const float> x, MatView<float> y) const noexcept {
  if (impl_ == nullptr) return;
  if (inputs_ == 0) {
    for (int64_t r = 0; r < y.rows; ++r) std::fill_n(y.row(r), y.cols, 0.0f);
    return;
  }
  const int8_t* codes = impl_->codes.values<int8_t>().data();
  const float* scales = impl_->scales.values<float>().data();
  if (x.rows == 1) {
    HWY_DYNAMIC_DISPATCH(multiply_row)(x, codes, scales, impl_->group, y);
    return;
  }
  for (int64_t row = 0; row < x.rows; row += kChunk) {
    const int64_t rows = std::min(kChunk, x.rows - row);
    HWY_DYNAMIC_DISPATCH(multiply)
    (x.slice_rows(row, rows), codes, scales, impl_->group, y.slice_rows(row, rows));
  }
}

int64_t GemmInt4::bytes() const {
  if (impl_ == nullptr) return 0;
  return static_cast<int64_t>(impl_->codes.bytes().size() + impl_->scales.bytes().size());
}

}  // namespace scute
#endif
