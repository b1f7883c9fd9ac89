#include "scute/quantize/block_codes.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>

#include "scute/tensor/dtype.h"

namespace scute {
namespace {

/// 1/d; 0 where that is no number: of blocks of zeros, and of such whose scale is 0 in half
/// precision anyway.
float inverse(float d) {
  const float out = 1 / d;
  return std::isfinite(out) ? out : 0.0F;
}

void store_scale(float d, std::byte* out) {
  const uint16_t bits = to_f16(d).bits;
  std::memcpy(out, &bits, sizeof bits);
}

}  // namespace

void round_to_q8_0(std::span<const float> values, std::span<std::byte> out) {
  for (size_t b = 0; b < values.size() / kCodesOfBlock; ++b) {
    const auto block = values.subspan(b * kCodesOfBlock, kCodesOfBlock);
    std::byte* bytes = &out[b * kBytesOfQ8];
    float most = 0;
    for (const float x : block) most = std::max(most, std::abs(x));
    const float d = most / 127;
    const float scale = inverse(d);
    store_scale(d, bytes);
    for (size_t i = 0; i < kCodesOfBlock; ++i) {
      // Product and rounding in f32: who reads the format compares bits.
      bytes[2 + i] = static_cast<std::byte>(static_cast<int8_t>(std::round(block[i] * scale)));
    }
  }
}

void round_to_q4_0(std::span<const float> values, std::span<std::byte> out) {
  for (size_t b = 0; b < values.size() / kCodesOfBlock; ++b) {
    const auto block = values.subspan(b * kCodesOfBlock, kCodesOfBlock);
    std::byte* bytes = &out[b * kBytesOfQ4];
    float most = block[0];
    for (const float x : block) most = std::abs(x) > std::abs(most) ? x : most;
    const float d = most / -8;
    const float scale = inverse(d);
    store_scale(d, bytes);
    const auto code = [&](size_t i) {
      const auto upper = static_cast<uint8_t>(block[i] * scale + 8.5F);
      return std::min<uint8_t>(upper, 15);
    };
    for (size_t i = 0; i < kCodesOfBlock / 2; ++i) {
      bytes[2 + i] = static_cast<std::byte>(code(i) | (code(i + kCodesOfBlock / 2) << 4));
    }
  }
}

}  // namespace scute
