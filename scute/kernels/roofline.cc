#include "scute/kernels/roofline.h"

#include <algorithm>
#include <cstddef>
#include <optional>
#include <utility>

#include "scute/kernels/amx.h"
#include "scute/kernels/processor.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "scute/kernels/roofline.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "hwy/highway.h"
#include "scute/kernels/math-inl.h"

// Once, before any instruction set.
#ifndef SCUTE_KERNELS_ROOFLINE_ONCE_
#define SCUTE_KERNELS_ROOFLINE_ONCE_
namespace scute {
namespace {

/// Sums of 4 cycles' latency at 2 instructions a cycle need 8 chains; 12 and two factors fit 16
/// registers.
using Chains = std::make_index_sequence<12>;

}  // namespace
}  // namespace scute
#endif  // SCUTE_KERNELS_ROOFLINE_ONCE_

HWY_BEFORE_NAMESPACE();
namespace scute {
namespace HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;

#if HWY_TARGET == HWY_SCALAR || HWY_TARGET == HWY_EMU128
#define SCUTE_ROOFLINE_REGISTERS 0
constexpr std::string_view kBits = "plain loop";
#else
#define SCUTE_ROOFLINE_REGISTERS 1
#endif

/// A register whose value the compiler does not know: it must not take a product out of a loop, nor
/// make one chain of two that are equal.
template <class Raw>
HWY_INLINE void hide_register(Raw& value) {
#if SCUTE_ROOFLINE_REGISTERS && HWY_ARCH_X86
  asm volatile("" : "+v"(value));
#else
  asm volatile("" : "+m"(value));
#endif
}
template <class T>
HWY_INLINE void hide(T& value) {
#if SCUTE_ROOFLINE_REGISTERS && HWY_ARCH_X86
  hide_register(value.raw);
#else
  hide_register(value);
#endif
}

using DFloats = hn::CappedTag<float, 16>;
using VFloats = hn::Vec<DFloats>;

template <size_t... C>
HWY_INLINE double floats(std::index_sequence<C...>, int64_t steps) {
  const DFloats d;
  VFloats sums[sizeof...(C)] = {((void)C, hn::Zero(d))...};
  VFloats x = hn::Set(d, 1.0f), w = x;
  hide(x);
  hide(w);
  (hide(sums[C]), ...);
  for (int64_t i = 0; i < steps; ++i) ((sums[C] = hn::MulAdd(x, w, sums[C])), ...);
  double out = 0;
  HWY_ALIGN float lanes[hn::MaxLanes(d)];
  for (const VFloats& sum : sums) {
    hn::Store(sum, d, lanes);
    for (size_t i = 0; i < hn::Lanes(d); ++i) out += double{lanes[i]};
  }
  return out;
}
double run_floats(int64_t steps) { return floats(Chains(), steps); }
int64_t floats_a_step() { return static_cast<int64_t>(Chains::size() * hn::Lanes(DFloats())); }

using DWords = hn::CappedTag<int32_t, 16>;
using VWords = hn::Vec<DWords>;

HWY_INLINE double sum_of_lanes(VWords sum) {
  const DWords d;
  HWY_ALIGN int32_t lanes[hn::MaxLanes(d)];
  hn::Store(sum, d, lanes);
  double out = 0;
  for (size_t i = 0; i < hn::Lanes(d); ++i) out += lanes[i];
  return out;
}

#if SCUTE_ROOFLINE_REGISTERS
/// Pairs of 16-bit products summed in 32 bits (vpmaddwd): a block of 2 rows by 3 vectors, so that
/// no product is another's.
using DHalves = hn::Repartition<int16_t, DWords>;
template <size_t... C>
HWY_INLINE double pairs(std::index_sequence<C...>, int64_t steps) {
  const DWords d;
  const DHalves halves;
  VWords sums[sizeof...(C)] = {((void)C, hn::Zero(d))...};
  VWords odd[sizeof...(C)] = {((void)C, hn::Zero(d))...};  // not used on x86
  hn::Vec<DHalves> x[2] = {hn::Set(halves, 1), hn::Set(halves, 1)};
  hn::Vec<DHalves> w[3] = {x[0], x[0], x[0]};
  hide(w[0]);
  hide(w[1]);
  hide(w[2]);
  (hide(sums[C]), ...);
  for (int64_t i = 0; i < steps; ++i) {
    hide(x[0]);
    hide(x[1]);
    ((sums[C] = hn::ReorderWidenMulAccumulate(d, x[C / 3], w[C % 3], sums[C], odd[C])), ...);
  }
  double out = 0;
  for (size_t c = 0; c < sizeof...(C); ++c) {
    out += sum_of_lanes(hn::RearrangeToOddPlusEven(sums[c], odd[c]));
  }
  return out;
}
using PairChains = std::make_index_sequence<6>;
double run_pairs(int64_t steps) { return pairs(PairChains(), steps); }
int64_t pairs_a_step() {
  return static_cast<int64_t>(2 * PairChains::size() * hn::Lanes(DWords()));
}
#else
template <size_t... C>
HWY_INLINE double pairs(std::index_sequence<C...>, int64_t steps) {
  const DWords d;
  VWords sums[sizeof...(C)] = {((void)C, hn::Zero(d))...};
  VWords x = hn::Set(d, 1);
  const VWords w = x;
  (hide(sums[C]), ...);
  for (int64_t i = 0; i < steps; ++i) {
    hide(x);
    ((sums[C] = hn::Add(sums[C], hn::Mul(x, w))), ...);
  }
  double out = 0;
  for (const VWords& sum : sums) out += sum_of_lanes(sum);
  return out;
}
double run_pairs(int64_t steps) { return pairs(Chains(), steps); }
int64_t pairs_a_step() { return static_cast<int64_t>(Chains::size() * hn::Lanes(DWords())); }
#endif

constexpr PeakLoop loop_of(std::string_view instruction, int64_t a_step) {
  return {instruction, a_step};
}

#if HWY_TARGET == HWY_AVX3
// With all that the inlined functions of this instruction set are compiled for.
#define SCUTE_VNNI __attribute__((target(HWY_TARGET_STR ",avx512vnni")))
template <size_t... C>
SCUTE_VNNI double quads(std::index_sequence<C...>, int64_t steps) {
  __m512i sums[sizeof...(C)] = {((void)C, _mm512_setzero_si512())...};
  __m512i x = _mm512_set1_epi8(1), w = x;
  hide_register(x);
  hide_register(w);
  (hide_register(sums[C]), ...);
  for (int64_t i = 0; i < steps; ++i) ((sums[C] = _mm512_dpbusd_epi32(sums[C], x, w)), ...);
  double out = 0;
  for (const __m512i& sum : sums) out += _mm512_reduce_add_epi32(sum);
  return out;
}
#define SCUTE_BF16 __attribute__((target(HWY_TARGET_STR ",avx512bf16")))
template <size_t... C>
SCUTE_BF16 double halves(std::index_sequence<C...>, int64_t steps) {
  __m512 sums[sizeof...(C)] = {((void)C, _mm512_setzero_ps())...};
  __m512i ones = _mm512_set1_epi16(0x3f80);
  hide_register(ones);
  (hide_register(sums[C]), ...);
  const __m512bh x = reinterpret_cast<__m512bh>(ones);
  for (int64_t i = 0; i < steps; ++i) ((sums[C] = _mm512_dpbf16_ps(sums[C], x, x)), ...);
  double out = 0;
  for (const __m512& sum : sums) out += static_cast<double>(_mm512_reduce_add_ps(sum));
  return out;
}
double run_int8(int64_t steps) {
  return processor_has(kAvx512Vnni) ? quads(Chains(), steps) : run_pairs(steps);
}
double run_bf16(int64_t steps) {
  return processor_has(kAvx512Bf16) ? halves(Chains(), steps) : run_floats(steps);
}
PeakLoop loop_int8() {
  if (processor_has(kAvx512Vnni)) return loop_of("vpdpbusd, 512 bits", 4 * 16 * Chains::size());
  return loop_of("vpmaddwd, 512 bits", pairs_a_step());
}
PeakLoop loop_bf16() {
  if (processor_has(kAvx512Bf16)) return loop_of("vdpbf16ps, 512 bits", 2 * 16 * Chains::size());
  return loop_of("vfmadd, 512 bits, widened", floats_a_step());
}
PeakLoop loop_f32() { return loop_of("vfmadd, 512 bits", floats_a_step()); }
#elif HWY_TARGET == HWY_AVX2
#define SCUTE_AVXVNNI __attribute__((target(HWY_TARGET_STR ",avxvnni")))
template <size_t... C>
SCUTE_AVXVNNI double quads(std::index_sequence<C...>, int64_t steps) {
  __m256i sums[sizeof...(C)] = {((void)C, _mm256_setzero_si256())...};
  __m256i x = _mm256_set1_epi8(1), w = x;
  hide_register(x);
  hide_register(w);
  (hide_register(sums[C]), ...);
  for (int64_t i = 0; i < steps; ++i) ((sums[C] = _mm256_dpbusd_avx_epi32(sums[C], x, w)), ...);
  double out = 0;
  for (const __m256i& sum : sums) out += sum_of_lanes(VWords{sum});
  return out;
}
double run_int8(int64_t steps) {
  return processor_has(kAvxVnni) ? quads(Chains(), steps) : run_pairs(steps);
}
double run_bf16(int64_t steps) { return run_floats(steps); }
PeakLoop loop_int8() {
  if (processor_has(kAvxVnni)) return loop_of("vpdpbusd, 256 bits", 4 * 8 * Chains::size());
  return loop_of("vpmaddwd, 256 bits", pairs_a_step());
}
PeakLoop loop_bf16() { return loop_of("vfmadd, 256 bits, widened", floats_a_step()); }
PeakLoop loop_f32() { return loop_of("vfmadd, 256 bits", floats_a_step()); }
#else
double run_int8(int64_t steps) { return run_pairs(steps); }
double run_bf16(int64_t steps) { return run_floats(steps); }
#if SCUTE_ROOFLINE_REGISTERS
PeakLoop loop_int8() { return loop_of("16-bit pairs, 128 bits", pairs_a_step()); }
PeakLoop loop_bf16() { return loop_of("mulps addps, 128 bits, widened", floats_a_step()); }
PeakLoop loop_f32() { return loop_of("mulps addps, 128 bits", floats_a_step()); }
#else
PeakLoop loop_int8() { return loop_of(kBits, pairs_a_step()); }
PeakLoop loop_bf16() { return loop_of(kBits, floats_a_step()); }
PeakLoop loop_f32() { return loop_of(kBits, floats_a_step()); }
#endif
#endif

double run_loop(ProductType type, int64_t steps) {
  if (type == ProductType::f32) return run_floats(steps);
  return type == ProductType::bf16 ? run_bf16(steps) : run_int8(steps);
}

PeakLoop loop_for(ProductType type) {
  if (type == ProductType::f32) return loop_f32();
  return type == ProductType::bf16 ? loop_bf16() : loop_int8();
}

/// Four sums, for a load is issued every half cycle.
uint64_t sum_of(const uint64_t* HWY_RESTRICT words, int64_t n) {
  const hn::CappedTag<uint64_t, 8> d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  auto a = hn::Zero(d), b = a, c = a, e = a;
  int64_t i = 0;
  for (; i + 4 * lanes <= n; i += 4 * lanes) {
    a = hn::Add(a, hn::LoadU(d, words + i));
    b = hn::Add(b, hn::LoadU(d, words + i + lanes));
    c = hn::Add(c, hn::LoadU(d, words + i + 2 * lanes));
    e = hn::Add(e, hn::LoadU(d, words + i + 3 * lanes));
  }
  HWY_ALIGN uint64_t sums[hn::MaxLanes(d)];
  hn::Store(hn::Add(hn::Add(a, b), hn::Add(c, e)), d, sums);
  uint64_t out = 0;
  for (int64_t j = 0; j < lanes; ++j) out += sums[j];
  for (; i < n; ++i) out += words[i];
  return out;
}

void exp2_all(const float* x, int64_t n, float* y) {
  const DFloats d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  for (int64_t i = 0; i < n; i += lanes) {
    const size_t count = static_cast<size_t>(std::min(lanes, n - i));
    store_n(exp2_decay(d, load_n(d, x + i, count)), d, y + i, count);
  }
}

#undef SCUTE_ROOFLINE_REGISTERS

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace scute
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace scute {
namespace {

HWY_EXPORT(run_loop);
HWY_EXPORT(loop_for);
HWY_EXPORT(sum_of);
HWY_EXPORT(exp2_all);

/// Of a type that this machine multiplies by tiles.
std::optional<TileProducts> tiles_for(ProductType type) {
  if (type == ProductType::f32) return std::nullopt;
  const auto products = type == ProductType::int8 ? TileProducts::int8 : TileProducts::bf16;
  return has_tiles(products) ? std::optional(products) : std::nullopt;
}

}  // namespace

std::string_view name_of(ProductType type) {
  if (type == ProductType::f32) return "f32";
  return type == ProductType::bf16 ? "bf16" : "int8";
}

PeakLoop peak_loop(ProductType type) noexcept {
  const auto tiles = tiles_for(type);
  if (!tiles) return HWY_DYNAMIC_DISPATCH(loop_for)(type);
  return {*tiles == TileProducts::int8 ? "tdpbsud, 16 x 64 bytes" : "tdpbf16ps, 16 x 64 bytes",
          tile_loop_multiply_adds(*tiles)};
}
double run_peak_loop(ProductType type, int64_t steps) noexcept {
  if (const auto tiles = tiles_for(type)) return run_tile_loop(*tiles, steps);
  return HWY_DYNAMIC_DISPATCH(run_loop)(type, steps);
}

uint64_t sum_words(const uint64_t* words, int64_t n) noexcept {
  return HWY_DYNAMIC_DISPATCH(sum_of)(words, n);
}

void exp2_values(const float* x, int64_t n, float* y) noexcept {
  HWY_DYNAMIC_DISPATCH(exp2_all)(x, n, y);
}

}  // namespace scute
#endif
