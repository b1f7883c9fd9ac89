// A tensor whose elements lie in a file.
#pragma once

#include <cstdint>

#include "scute/io/input.h"
#include "scute/tensor/tensor.h"

namespace scute {

/// The tensor whose elements, little endian and row-major, begin at byte `offset` of the file: of a
/// large one mapped by its own mapping, so that the last copy of the Tensor gives the memory back;
/// copied when `offset` is not a multiple of the element size. Error when the file ends too early.
Tensor map_tensor(const InputFile& file, int64_t offset, DType dtype, const Shape& shape);

}  // namespace scute
