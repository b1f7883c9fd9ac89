// NumPy's files as tensors: .npy is read, .npz read and written.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "scute/io/input.h"
#include "scute/io/output.h"
#include "scute/tensor/tensor.h"

namespace scute {

/// Format versions 1–3, either byte order, types b1 i1 u1 i2 i4 i8 f2 f4 f8; u2 and u4 are read as
/// i4 and i8. Exactly one array. Fortran order, which NumPy writes for transposed arrays, is copied
/// into C order.
Tensor parse_npy(std::span<const std::byte> bytes, std::string_view where);
/// Memory-mapped when its data is aligned, as NumPy writes it, in C order and little endian.
Tensor read_npy(const InputFile& file);
Tensor read_npy(const std::string& path);
/// Whether a file begins as a .npy does.
bool is_npy(const InputFile& file);
bool is_npy(const std::string& path);

/// Arrays of an .npz, stored or deflated, checksums checked; names without ".npy". Arrays of text
/// (NumPy's U and S types: notes beside the numbers) are left out.
std::vector<NamedTensor> read_npz(const std::string& path);
/// Deflated; atomic. Error for bf16, which NumPy lacks, and as OutputFile.
void write_npz(const std::string& path, const std::vector<NamedTensor>& arrays,
               Replace replace = Replace::anything);

}  // namespace scute
