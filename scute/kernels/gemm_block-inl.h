// The register blocks of our own float products; included once per instruction set.
#if defined(SCUTE_KERNELS_GEMM_BLOCK_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef SCUTE_KERNELS_GEMM_BLOCK_INL_H_
#undef SCUTE_KERNELS_GEMM_BLOCK_INL_H_
#else
#define SCUTE_KERNELS_GEMM_BLOCK_INL_H_
#endif

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "hwy/highway.h"
#include "scute/kernels/fetch_ahead.h"
#include "scute/tensor/mat_view.h"

HWY_BEFORE_NAMESPACE();
namespace scute {
namespace HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;

/// Outputs per panel of packed weights: two 512-bit vectors, and the same layout on every target.
constexpr int64_t kPanel = 32;

// Rows of a register block, which is two vectors wide. AVX-512, 32 registers: 16 sums are enough to
// hide the latency of two multiply-adds a cycle, and measure better than 24 (115 against 110
// GFLOP/s on one Zen 4 core). 16 registers: 12 sums, 2 weights, 1 broadcast, and 1 for the product
// where there is no fused multiply-add.
#if HWY_TARGET <= HWY_AVX3
constexpr int64_t kRows = 8;
#else
constexpr int64_t kRows = 6;
#endif

using D = hn::CappedTag<float, 16>;
using V = hn::Vec<D>;
using DBits = hn::Rebind<uint32_t, D>;
using DHalf = hn::Rebind<uint16_t, D>;
using DWhole = hn::Rebind<int32_t, D>;
using DByte = hn::Rebind<int8_t, D>;
constexpr int64_t kLanes = hn::MaxLanes(D());

// What a step of the inner loop multiplies: one float by weights in f32; one float by weights in
// bf16 or codes of 8 bits, widened; or two inputs in bf16 by the pairs of their weights.
struct Pair {
  uint16_t even, odd;
};

HWY_INLINE V load_weights(const float* w) { return hn::LoadU(D(), w); }
HWY_INLINE V load_weights(const uint16_t* w) {
  return hn::BitCast(D(), hn::ShiftLeft<16>(hn::PromoteTo(DBits(), hn::LoadU(DHalf(), w))));
}
HWY_INLINE V load_weights(const int8_t* w) {
  return hn::ConvertTo(D(), hn::PromoteTo(DWhole(), hn::LoadU(DByte(), w)));
}
HWY_INLINE V load_weights(const Pair* w) {
  return hn::LoadU(D(), reinterpret_cast<const float*>(w));
}

HWY_INLINE V broadcast(const float* in) { return hn::Set(D(), *in); }
HWY_INLINE V broadcast(const Pair* in) {
  uint32_t bits;
  std::memcpy(&bits, in, sizeof(bits));
  return hn::BitCast(D(), hn::Set(DBits(), bits));
}

template <class X>
HWY_INLINE V multiply_add(V value, V weights, V sums) {
#if HWY_TARGET <= HWY_AVX3
  if constexpr (std::is_same_v<X, Pair>) {
    // Highway 1.0.3 has no such operation, and no target that may use the intrinsic.
    asm("vdpbf16ps %2, %1, %0" : "+v"(sums.raw) : "v"(value.raw), "v"(weights.raw));
    return sums;
  }
#endif
  return hn::MulAdd(value, weights, sums);
}

HWY_INLINE void store(V sums, float* y, int64_t count) {
  const D d;
  if (HWY_LIKELY(count >= kLanes)) {
    hn::StoreU(sums, d, y);
  } else {
    HWY_ALIGN float all[kLanes];
    hn::Store(sums, d, all);
    std::copy(all, all + count, y);
  }
}

HWY_INLINE V load(const float* y, int64_t count) {
  const D d;
  if (HWY_LIKELY(count >= kLanes)) return hn::LoadU(d, y);
  HWY_ALIGN float all[kLanes] = {};
  std::copy(y, y + count, all);
  return hn::Load(d, all);
}

/// How the sums of some inputs meet y, which holds those of the inputs before.
enum class Into {
  kFresh,    ///< y = sums, from zero
  kResumed,  ///< y = sums, from y
  kAdded     ///< y += sums, from zero
};
struct Finish {
  Into into;
  const float* scales = nullptr;  ///< of a panel's outputs, or null: sums are multiplied by them
};

/// The sums of R rows by N vectors. Fields, because GCC 12 keeps arrays of vectors in memory,
/// inside the loop too: 20 instead of 50 GMAC/s for the resumed sums of bf16.
template <int64_t R, int64_t N>
struct Sums {
  V first, second;
  Sums<R - 1, N> rest;
};
template <int64_t N>
struct Sums<0, N> {};

/// Zeros, or R × N vectors at `from`.
template <bool kResumed, int64_t R, int64_t N>
HWY_INLINE Sums<R, N> begin(const float* from) {
  if constexpr (R == 0) {
    return {};
  } else {
    const D d;
    const V first = kResumed ? hn::Load(d, from) : hn::Zero(d);
    const V second = kResumed && N == 2 ? hn::Load(d, from + kLanes) : hn::Zero(d);
    return {first, second, begin<kResumed, R - 1, N>(from + N * kLanes)};
  }
}

template <int64_t R, int64_t N>
HWY_INLINE void end(const Sums<R, N>& sums, float* to) {
  if constexpr (R > 0) {
    hn::Store(sums.first, D(), to);
    if constexpr (N == 2) hn::Store(sums.second, D(), to + kLanes);
    end(sums.rest, to + N * kLanes);
  }
}

template <class X, int64_t R, int64_t N>
HWY_INLINE void add_step(const X* in, int64_t stride, V first, V second, Sums<R, N>& sums) {
  if constexpr (R > 0) {
    const V value = broadcast(in);
    sums.first = multiply_add<X>(value, first, sums.first);
    if constexpr (N == 2) sums.second = multiply_add<X>(value, second, sums.second);
    add_step(in + stride, stride, first, second, sums.rest);
  }
}

/// One vector of sums into y, of which `count` outputs remain.
HWY_INLINE void finish_vector(V sums, const float* scales, bool adds, float* y, int64_t count) {
  const D d;
  if (adds) {
    const V before = load(y, count);
    sums =
        scales == nullptr ? hn::Add(before, sums) : hn::MulAdd(sums, hn::LoadU(d, scales), before);
  } else if (scales != nullptr) {
    sums = hn::Mul(sums, hn::LoadU(d, scales));
  }
  store(sums, y, count);
}

template <int64_t R, int64_t N>
HWY_INLINE void finish_all(const float* sums, Finish finish, MatView<float> y) {
  const bool adds = finish.into == Into::kAdded;
  for (int64_t r = 0; r < R; ++r) {
    for (int64_t first = 0; first < N * kLanes && first < y.cols; first += kLanes) {
      finish_vector(hn::Load(D(), sums + r * N * kLanes + first),
                    finish.scales == nullptr ? nullptr : finish.scales + first, adds,
                    y.row(r) + first, y.cols - first);
    }
  }
}

/// R rows of x by N vectors of weights from w on, into y, of which y.cols outputs remain. Each sum
/// runs over the inputs in order, so its bits depend neither on R nor on N.
template <int64_t R, int64_t N, class X, class W>
HWY_NOINLINE void multiply_block(MatView<const X> x, const W* HWY_RESTRICT w, MatView<float> y,
                                 Finish finish) {
  HWY_ALIGN float all[R * N * kLanes];
  if (finish.into == Into::kResumed) {
    for (int64_t i = 0; i < R * N; ++i) {
      const int64_t r = i / N, first = i % N * kLanes;
      const V before = first < y.cols ? load(y.row(r) + first, y.cols - first) : hn::Zero(D());
      hn::Store(before, D(), all + i * kLanes);
    }
  }
  Sums<R, N> sums =
      finish.into == Into::kResumed ? begin<true, R, N>(all) : begin<false, R, N>(all);
  const X* HWY_RESTRICT in = x.data;
  const int64_t steps = x.cols, stride = x.stride;
  for (int64_t k = 0; k < steps; ++k, w += kPanel) {
    const V first = load_weights(w);
    // With AVX2 a row took 1.03 times as long for asking.
    if constexpr (R == 1 && kLanes >= 16) {
      fetch_ahead(w, N * kLanes * static_cast<int64_t>(sizeof(W)));
    }
    add_step(in + k, stride, first, N == 2 ? load_weights(w + kLanes) : first, sums);
  }
  end(sums, all);
  finish_all<R, N>(all, finish, y);
}

/// The same for x.rows ≤ R known only at run time.
template <int64_t R, int64_t N, class X, class W>
HWY_INLINE void multiply_rows(MatView<const X> x, const W* w, MatView<float> y, Finish finish) {
  if constexpr (R > 0) {
    if (x.rows == R) {
      multiply_block<R, N>(x, w, y, finish);
    } else {
      multiply_rows<R - 1, N>(x, w, y, finish);
    }
  }
}

/// Asks for part `part` of `parts` of the bytes [from, from + count): into the second-level cache,
/// where the next panel waits until this one, in the first, is done.
HWY_INLINE void fetch(const void* from, int64_t count, int64_t part, int64_t parts) {
  constexpr int64_t kLine = 64;
  const char* bytes = static_cast<const char*>(from);
  const int64_t last = count * (part + 1) / parts;
  for (int64_t i = count * part / parts / kLine * kLine; i < last; i += kLine) {
    __builtin_prefetch(bytes + i, 0, 2);
  }
}

/// All rows by one panel: its weights of x.cols steps. y: its outputs. next: the weights that come
/// after it, or null.
template <class X, class W>
HWY_INLINE void multiply_panel(MatView<const X> x, const W* panel, MatView<float> y, Finish finish,
                               const W* next) {
  const int64_t blocks = (x.rows + kRows - 1) / kRows;
  for (int64_t row = 0; row < x.rows; row += kRows) {
    const int64_t rows = std::min(kRows, x.rows - row);
    // A single block reads as fast as the processor's own prefetching.
    if (next != nullptr && blocks > 1) {
      fetch(next, x.cols * kPanel * static_cast<int64_t>(sizeof(W)), row / kRows, blocks);
    }
    const auto in = x.slice_rows(row, rows);
    for (int64_t out = 0; out < y.cols; out += 2 * kLanes) {
      const auto to = y.slice_rows(row, rows).columns(out, y.cols - out);
      const Finish scaled{finish.into, finish.scales == nullptr ? nullptr : finish.scales + out};
      if (to.cols > kLanes) {
        multiply_rows<kRows, 2>(in, panel + out, to, scaled);
      } else {
        multiply_rows<kRows, 1>(in, panel + out, to, scaled);
      }
    }
  }
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace scute
HWY_AFTER_NAMESPACE();

#endif  // SCUTE_KERNELS_GEMM_BLOCK_INL_H_
