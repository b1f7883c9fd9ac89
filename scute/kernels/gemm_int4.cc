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

// Codes of one output in a word: input 8·q + i of code + 8 in bits [4·i, 4·i + 4) of word q.
constexpr int64_t kWord = 8;
// Inputs that are added up from zero before their scale is applied: 16 KB of widened floats, half
// of a first-level cache. A part of what fixes the bits.
constexpr int64_t kRun = 128;
// Floats of x that stay in the second-level cache while all panels pass, and rows that share one
// widening of the codes.
constexpr int64_t kNear = 131072, kChunk = kNear / kRun;

// Vectors of a panel that are held at once: with their words half of 16 registers. Vectors of 4
// take several passes over a panel's codes: all 8 in one took Clang 14 four minutes to compile
// with sanitizers, pairs take 26 s with all else in this file.
constexpr int64_t kHeld = std::min<int64_t>(kPanel / kLanes, kLanes >= 8 ? 4 : 2);
constexpr int64_t kHeldOutputs = kHeld * kLanes;
// A single row takes several panels at once where two vectors make one: 2 chains of sums leave a
// unit that takes 4 cycles for each step idle for half of them.
constexpr int64_t kRowHeld = kLanes >= 16 ? 8 : kHeld;
constexpr int64_t kRowPanels = std::max<int64_t>(kRowHeld * kLanes / kPanel, 1);

using Words = hn::Vec<DBits>;

/// Panels of codes, 32 words for each 8 inputs, and their scales, 32 for each group of inputs.
struct Panels {
  const uint32_t* codes;
  const float* scales;
  int64_t inputs, group;

  Panels from(int64_t panel) const {
    return {codes + panel * words(), scales + panel * all_scales(), inputs, group};
  }
  /// Of one panel.
  int64_t words() const { return (inputs + kWord - 1) / kWord * kPanel; }
  int64_t all_scales() const { return inputs / group * kPanel; }
  const uint32_t* words_at(int64_t input) const { return codes + input / kWord * kPanel; }
  const float* scales_at(int64_t input) const { return scales + input / group * kPanel; }
  /// The end of the run that begins at `input`: of its group, or of kRun inputs.
  int64_t run_end(int64_t input) const {
    return std::min((input / group + 1) * group, input + kRun);
  }
};

/// Code I of each word, exactly.
template <int I>
HWY_INLINE V code_at(Words words) {
  const D d;
  const DBits bits;
#if HWY_TARGET <= HWY_AVX3
  // The table's lookup minds but the lowest 4 bits of an index.
  HWY_ALIGN static constexpr float kCodes[16] = {-8, -7, -6, -5, -4, -3, -2, -1,
                                                 0,  1,  2,  3,  4,  5,  6,  7};
  (void)bits;
  return V{_mm512_permutexvar_ps(hn::ShiftRight<4 * I>(words).raw, hn::Load(d, kCodes).raw)};
#else
  // Where the code's lowest bit is the unit of 2^(23 − 4·J), the bits of that power and the code
  // side by side are their sum.
  constexpr int kPlace = I % 4;
  constexpr uint32_t kPower = 23 - 4 * kPlace;
  const auto near = I < 4 ? words : hn::ShiftRight<16>(words);
  const auto code = hn::And(near, hn::Set(bits, 15u << 4 * kPlace));
  const auto sum = hn::Or(code, hn::Set(bits, (127 + kPower) << 23));
  return hn::Sub(hn::BitCast(d, sum), hn::Set(d, static_cast<float>((1u << kPower) + 8)));
#endif
}

/// N vectors of words and of the sums of their products.
template <int64_t N>
struct Lanes {
  V sums;
  Words words;
  Lanes<N - 1> rest;
};
template <>
struct Lanes<0> {};

/// Vector At of those that begin in a panel: where it lies in panels that are `apart`.
template <int64_t At>
constexpr int64_t place_of(int64_t apart) {
  return At * kLanes / kPanel * apart + At * kLanes % kPanel;
}

template <int64_t N>
HWY_INLINE Lanes<N> zero_lanes() {
  if constexpr (N == 0) {
    return {};
  } else {
    return {hn::Zero(D()), hn::Zero(DBits()), zero_lanes<N - 1>()};
  }
}

/// The words at `from`, in panels that are `apart`, shifted so that code `first` of each is the
/// lowest.
template <int64_t At = 0, int64_t N>
HWY_INLINE void load_words(const uint32_t* from, int64_t apart, int first, Lanes<N>& lanes) {
  if constexpr (N > 0) {
    lanes.words = hn::LoadU(DBits(), from + place_of<At>(apart));
    if (first > 0) lanes.words = hn::ShiftRightSame(lanes.words, 4 * first);
    load_words<At + 1>(from, apart, first, lanes.rest);
  }
}

/// What is done with the codes of one input: their products added up.
struct Multiplied {
  const float* x;

  template <int I, int64_t N>
  HWY_INLINE void take(int64_t input, Lanes<N>& lanes) const {
    add<I>(hn::Set(D(), x[input]), lanes);
  }
  template <int I, int64_t N>
  static HWY_INLINE void add(V value, Lanes<N>& lanes) {
    if constexpr (N > 0) {
      lanes.sums = hn::MulAdd(value, code_at<I>(lanes.words), lanes.sums);
      add<I>(value, lanes.rest);
    }
  }
};

/// Or they are written as floats, 32 of each input.
struct Widened {
  float* to;
  int64_t first;

  template <int I, int64_t N>
  HWY_INLINE void take(int64_t input, Lanes<N>& lanes) const {
    store<I>(to + (input - first) * kPanel, lanes);
  }
  template <int I, int64_t N>
  static HWY_INLINE void store(float* to, const Lanes<N>& lanes) {
    if constexpr (N > 0) {
      hn::StoreU(code_at<I>(lanes.words), D(), to);
      store<I>(to + kLanes, lanes.rest);
    }
  }
};

/// The inputs [from, end) of a panel and those behind it, in order, of its outputs from `output`
/// on.
template <class What, int64_t N>
HWY_INLINE void each_input(const Panels& panel, int64_t output, int64_t from, int64_t end,
                           const What& what, Lanes<N>& lanes) {
  for (int64_t k = from; k < end;) {
    for (; k % kWord == 0 && end - k >= kWord; k += kWord) {
      load_words(panel.words_at(k) + output, panel.words(), 0, lanes);
      what.template take<0>(k, lanes);
      what.template take<1>(k + 1, lanes);
      what.template take<2>(k + 2, lanes);
      what.template take<3>(k + 3, lanes);
      what.template take<4>(k + 4, lanes);
      what.template take<5>(k + 5, lanes);
      what.template take<6>(k + 6, lanes);
      what.template take<7>(k + 7, lanes);
    }
    if (k == end) break;
    load_words(panel.words_at(k) + output, panel.words(), static_cast<int>(k % kWord), lanes);
    what.template take<0>(k, lanes);
    ++k;
  }
}

/// All rows by the runs [from, end) of one panel. y: its outputs.
HWY_INLINE void multiply_runs(MatView<const float> x, const Panels& panel, int64_t from,
                              int64_t end, MatView<float> y) {
  HWY_ALIGN float weights[kRun * kPanel];
  for (int64_t k = from; k < end; k = panel.run_end(k)) {
    const int64_t last = panel.run_end(k);
    for (int64_t output = 0; output < kPanel; output += kHeldOutputs) {
      auto lanes = zero_lanes<kHeld>();
      each_input(panel, output, k, last, Widened{weights + output, k}, lanes);
    }
    const Finish finish{k == 0 ? Into::kFresh : Into::kAdded, panel.scales_at(k)};
    const float* none = nullptr;
    multiply_panel(x.columns(k, last - k), weights, y, finish, none);
  }
}

void multiply(MatView<const float> x, const uint32_t* codes, const float* scales, int64_t group,
              MatView<float> y) {
  const Panels all{codes, scales, x.cols, group};
  for (int64_t row = 0; row < x.rows; row += kChunk) {
    const int64_t rows = std::min(kChunk, x.rows - row);
    for (int64_t k = 0; k < x.cols;) {
      int64_t end = all.run_end(k);
      while (end < x.cols && rows * (all.run_end(end) - k) <= kNear) end = all.run_end(end);
      for (int64_t first = 0; first < y.cols; first += kPanel) {
        const auto out = y.slice_rows(row, rows).columns(first, std::min(kPanel, y.cols - first));
        multiply_runs(x.slice_rows(row, rows), all.from(first / kPanel), k, end, out);
      }
      k = end;
    }
  }
}

template <int64_t At = 0, int64_t N>
HWY_INLINE void finish_lanes(const Lanes<N>& lanes, const float* scales, int64_t apart, bool adds,
                             float* y, int64_t count) {
  if constexpr (N > 0) {
    if (count <= At * kLanes) return;
    finish_vector(lanes.sums, scales + place_of<At>(apart), adds, y + At * kLanes,
                  count - At * kLanes);
    finish_lanes<At + 1>(lanes.rest, scales, apart, adds, y, count);
  }
}

/// The outputs of N vectors from `output` of a panel on, `count` of them, in registers.
template <int64_t N>
HWY_INLINE void multiply_vectors(const float* x, const Panels& panel, int64_t output, float* y,
                                 int64_t count) {
  for (int64_t k = 0; k < panel.inputs; k = panel.run_end(k)) {
    auto lanes = zero_lanes<N>();
    each_input(panel, output, k, panel.run_end(k), Multiplied{x}, lanes);
    finish_lanes(lanes, panel.scales_at(k) + output, panel.all_scales(), k > 0, y, count);
  }
}

/// The same steps for a single row.
void multiply_row(MatView<const float> x, const uint32_t* codes, const float* scales, int64_t group,
                  MatView<float> y) {
  const Panels all{codes, scales, x.cols, group};
  int64_t first = 0;
  if constexpr (kRowPanels > 1) {
    // All of its panels are there, whole or not.
    for (; y.cols - first > (kRowPanels - 1) * kPanel; first += kRowPanels * kPanel) {
      multiply_vectors<kRowHeld>(x.data, all.from(first / kPanel), 0, y.data + first,
                                 y.cols - first);
    }
  }
  for (; first < y.cols; first += kHeldOutputs) {
    multiply_vectors<kHeld>(x.data, all.from(first / kPanel), first % kPanel, y.data + first,
                            y.cols - first);
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

constexpr int64_t kPanel = HWY_STATIC_DISPATCH(kPanel), kWord = HWY_STATIC_DISPATCH(kWord);
static_assert(kPanel == GemmInt4::kOutputTile);

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

/// packed[p][q][j]: the word of codes[32·p + j][8·q …], zero where there is no such output.
Tensor pack_codes(const Tensor& codes) {
  const int64_t outputs = codes.dim(0), inputs = codes.dim(1), words = (inputs + kWord - 1) / kWord;
  Tensor packed(DType::i32, {panels_of(outputs), words, kPanel});
  int32_t* to = packed.mutable_values<int32_t>().data();
  for (int64_t o = 0; o < outputs; ++o) {
    const int8_t* row = codes.values<int8_t>().data() + o * inputs;
    int32_t* column = to + o / kPanel * kPanel * words + o % kPanel;
    for (int64_t q = 0; q < words; ++q) {
      uint32_t word = 0;
      for (int64_t i = 0; i < std::min(kWord, inputs - q * kWord); ++i) {
        word |= static_cast<uint32_t>(row[q * kWord + i] + 8) << 4 * i;
      }
      column[q * kPanel] = static_cast<int32_t>(word);
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

GemmInt4::GemmInt4(const Tensor& codes, const Tensor& scales, int64_t group, PackedMemory* memory) {
  check(codes, scales, group);
  outputs_ = codes.dim(0);
  inputs_ = codes.dim(1);
  impl_ = std::make_shared<Impl>(
      Impl{kept_by(memory, pack_codes(codes)), kept_by(memory, pack_scales(scales)), group});
}

void GemmInt4::operator()(MatView<const float> x, MatView<float> y) const noexcept {
  outputs(0, x, y);
}

void GemmInt4::outputs(int64_t first, MatView<const float> x, MatView<float> y) const noexcept {
  if (impl_ == nullptr) return;
  if (inputs_ == 0) {
    for (int64_t r = 0; r < y.rows; ++r) std::fill_n(y.row(r), y.cols, 0.0f);
    return;
  }
  const int64_t words = (inputs_ + kWord - 1) / kWord, groups = inputs_ / impl_->group;
  const int32_t* signed_codes = impl_->codes.values<int32_t>().data() + first * words;
  const auto* codes = reinterpret_cast<const uint32_t*>(signed_codes);
  const float* scales = impl_->scales.values<float>().data() + first * groups;
  if (x.rows == 1) {
    HWY_DYNAMIC_DISPATCH(multiply_row)(x, codes, scales, impl_->group, y);
  } else {
    HWY_DYNAMIC_DISPATCH(multiply)(x, codes, scales, impl_->group, y);
  }
}

int64_t GemmInt4::bytes() const {
  if (impl_ == nullptr) return 0;
  return static_cast<int64_t>(impl_->codes.bytes().size() + impl_->scales.bytes().size());
}

}  // namespace scute
#endif
