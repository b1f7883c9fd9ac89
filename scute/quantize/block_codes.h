// Blocks of 32 weights with a scale of their own: the formats Q8_0 and Q4_0 of GGUF files.
#pragma once

#include <cstddef>
#include <span>

namespace scute {

constexpr size_t kCodesOfBlock = 32;
constexpr size_t kBytesOfQ8 = 34, kBytesOfQ4 = 18;

/// d = max|x| / 127, stored in half precision; codes x / d (with the d that was not yet rounded)
/// rounded half away from zero. Stored value: code · d. Its error is at most
/// d/2 + 127·(d − half(d)) ≤ 0.0045 · max|x|, for d ≥ 2^-14 (below, half precision is coarser: 127
/// · 2^-25 more).
///
/// `values`: whole blocks, finite, below 127 · 65504. `out`: 34 bytes a block, the scale first.
void round_to_q8_0(std::span<const float> values, std::span<std::byte> out);

/// d = x / −8 of the x that is largest by its magnitude, stored in half precision; codes
/// ⌊x / d + 8.5⌋, at most 15. Stored value: (code − 8) · d. Its error is at most |d| · (1 + 8 ·
/// 2^-11) ≤ 0.126 · max|x|: |d| where a value of the other sign is as large, else half of it.
///
/// `values`: whole blocks, finite, below 8 · 65504. `out`: 18 bytes a block: the scale, then byte i
/// holds the code of value i in its lower half, that of value 16 + i in its upper.
void round_to_q4_0(std::span<const float> values, std::span<std::byte> out);

/// The largest magnitude whose scale half precision holds.
constexpr float kMostInQ8 = 127.0F * 65504.0F, kMostInQ4 = 8.0F * 65504.0F;

}  // namespace scute
