#include "scute/tensor/dtype.h"

#include <array>
#include <cmath>

namespace scute {
namespace {

struct Row {
  int64_t size;
  std::string_view name;
};
constexpr std::array<Row, 10> kTypes{{{8, "F64"},
                                      {4, "F32"},
                                      {2, "F16"},
                                      {2, "BF16"},
                                      {8, "I64"},
                                      {4, "I32"},
                                      {2, "I16"},
                                      {1, "I8"},
                                      {1, "U8"},
                                      {1, "BOOL"}}};

}  // namespace

int64_t size_of(DType type) { return kTypes[static_cast<size_t>(type)].size; }
std::string_view name_of(DType type) { return kTypes[static_cast<size_t>(type)].name; }

float to_float(f16 x) {
  const uint32_t sign = uint32_t{x.bits & 0x8000u} << 16;
  const uint32_t exponent = (x.bits >> 10) & 31;
  const uint32_t mantissa = x.bits & 0x3ffu;
  if (exponent == 31) return std::bit_cast<float>(sign | 0x7f800000u | (mantissa << 13));
  if (exponent == 0) {  // zero or subnormal: mantissa · 2^−24, exact in float
    const float magnitude = static_cast<float>(mantissa) * 0x1p-24f;
    return sign != 0 ? -magnitude : magnitude;
  }
  return std::bit_cast<float>(sign | ((exponent + 112) << 23) | (mantissa << 13));
}

bf16 to_bf16(float x) {
  const auto bits = std::bit_cast<uint32_t>(x);
  if (std::isnan(x)) return {static_cast<uint16_t>((bits >> 16) | 0x40u)};
  return {static_cast<uint16_t>((bits + 0x7fffu + ((bits >> 16) & 1)) >> 16)};
}

f16 to_f16(float x) {
  const auto bits = std::bit_cast<uint32_t>(x);
  const uint32_t sign = (bits >> 16) & 0x8000u;
  const uint32_t magnitude = bits & 0x7fffffffu;
  if (magnitude > 0x7f800000u) return {static_cast<uint16_t>(sign | 0x7e00u)};
  // 65520 is halfway between the largest half, 65504, and the next power step: it rounds up to Inf.
  if (magnitude >= 0x477ff000u) return {static_cast<uint16_t>(sign | 0x7c00u)};
  if (magnitude < 0x38800000u) {  // below 2^−14: subnormal, units of 2^−24
    const float scaled = std::bit_cast<float>(magnitude) * 0x1p24f;
    return {static_cast<uint16_t>(sign | static_cast<uint32_t>(std::nearbyint(scaled)))};
  }
  const uint32_t rounded = magnitude + 0xfffu + ((magnitude >> 13) & 1);
  return {static_cast<uint16_t>(sign | ((rounded >> 13) - (112u << 10)))};
}

}  // namespace scute
