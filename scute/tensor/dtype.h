// Element types, and the exact conversions between float formats.
#pragma once

#include <bit>
#include <cstdint>
#include <string_view>

namespace scute {

/// IEEE half precision, as bits.
struct f16 {
  uint16_t bits;
};
/// The upper half of a float, as bits.
struct bf16 {
  uint16_t bits;
};

/// Types of elements that files may hold.
enum class DType { f64, f32, f16, bf16, i64, i32, i16, i8, u8, boolean };

/// Bytes of one element.
int64_t size_of(DType);
/// f64, f32, f16 or bf16.
inline bool is_float(DType type) {
  return type == DType::f64 || type == DType::f32 || type == DType::f16 || type == DType::bf16;
}
/// "F32", "BF16", "I64", …: safetensors' names.
std::string_view name_of(DType);

template <class T>
constexpr DType dtype_of();
template <>
constexpr DType dtype_of<double>() {
  return DType::f64;
}
template <>
constexpr DType dtype_of<float>() {
  return DType::f32;
}
template <>
constexpr DType dtype_of<f16>() {
  return DType::f16;
}
template <>
constexpr DType dtype_of<bf16>() {
  return DType::bf16;
}
template <>
constexpr DType dtype_of<int64_t>() {
  return DType::i64;
}
template <>
constexpr DType dtype_of<int32_t>() {
  return DType::i32;
}
template <>
constexpr DType dtype_of<int16_t>() {
  return DType::i16;
}
template <>
constexpr DType dtype_of<int8_t>() {
  return DType::i8;
}
template <>
constexpr DType dtype_of<uint8_t>() {
  return DType::u8;
}

/// The same number.
inline float to_float(bf16 x) { return std::bit_cast<float>(uint32_t{x.bits} << 16); }
float to_float(f16 x);
/// Round to nearest even; NaN stays NaN (quiet).
bf16 to_bf16(float x);
/// Round to nearest even; overflow becomes infinity, NaN stays NaN.
f16 to_f16(float x);

}  // namespace scute
