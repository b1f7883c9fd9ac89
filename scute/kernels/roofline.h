// What a machine could do at best: loops that only multiply and add, only read, only raise to
// powers. Benches divide by their rates.
#pragma once

#include <cstdint>
#include <string_view>

namespace scute {

/// What the factors of a product are. bf16 and f32 sum in f32, int8 in int32.
enum class ProductType { f32, bf16, int8 };
inline constexpr ProductType kProductTypes[] = {ProductType::f32, ProductType::bf16,
                                                ProductType::int8};
/// "f32", "bf16", "int8".
std::string_view name_of(ProductType type);

/// Independent chains of this machine's instruction for such products, on registers alone.
struct PeakLoop {
  std::string_view instruction;      ///< "vpdpbusd, 512 bits"
  int64_t multiply_adds_a_step = 0;  ///< of all chains and lanes together
};
PeakLoop peak_loop(ProductType type) noexcept;
/// Runs it for `steps` ≤ 2^22 on factors that are all 1 and gives the sum of all sums: exactly the
/// multiply-adds that were done, steps · multiply_adds_a_step.
double run_peak_loop(ProductType type, int64_t steps) noexcept;

/// Reads every word once and gives their sum modulo 2^64.
uint64_t sum_words(const uint64_t* words, int64_t n) noexcept;

/// y = 2^x by the vector function of the selective scan; x < 127.5. y may be x.
void exp2_values(const float* x, int64_t n, float* y) noexcept;

}  // namespace scute
