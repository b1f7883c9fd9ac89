// Reading and writing safetensors: 8 bytes header length, JSON header, raw tensors.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "scute/io/input.h"
#include "scute/tensor/tensor.h"

namespace scute {

/// The strings of `__metadata__`.
using Metadata = std::map<std::string, std::string>;

/// What the header says of one tensor; begin and end are offsets into the file.
struct SafetensorsEntry {
  std::string name;
  DType dtype;
  Shape shape;
  int64_t begin, end;
};
/// What the header of a file says, checked.
struct SafetensorsHeader {
  std::vector<SafetensorsEntry> entries;  ///< by begin
  Metadata metadata;
};

/// Checks everything: header length, JSON, types, shape against extent, extents inside the file,
/// no overlap, no gap. `head` holds at least the header; `file_size` is the whole file's.
SafetensorsHeader parse_safetensors(std::span<const std::byte> head, int64_t file_size,
                                    std::string_view where);

/// All tensors of a file.
struct SafetensorsFile {
  std::vector<NamedTensor> tensors;  ///< memory-mapped, one mapping a tensor
  Metadata metadata;
};
SafetensorsFile read_safetensors(const InputFile& input);
SafetensorsFile read_safetensors(const std::string& path);

/// Atomic. Tensors by element size, largest first, else in the given order: without gaps, which the
/// format forbids, this alone keeps every tensor aligned to its type. Error for a name used twice.
void write_safetensors(const std::string& path, const std::vector<NamedTensor>& tensors,
                       const Metadata& metadata);

}  // namespace scute
