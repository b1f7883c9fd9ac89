// What reading and writing .npy share: internal to this folder.
#pragma once

#include <array>
#include <string_view>
#include <utility>

#include "scute/tensor/dtype.h"

namespace scute {

inline constexpr std::string_view kNpyMagic("\x93NUMPY", 6);

/// NumPy's names, little endian.
inline constexpr std::array<std::pair<std::string_view, DType>, 9> kNpyTypes = {{
    {"|b1", DType::boolean},
    {"|i1", DType::i8},
    {"|u1", DType::u8},
    {"<i2", DType::i16},
    {"<i4", DType::i32},
    {"<i8", DType::i64},
    {"<f2", DType::f16},
    {"<f4", DType::f32},
    {"<f8", DType::f64},
}};

}  // namespace scute
