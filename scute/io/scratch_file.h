// A file without a name: room on disk for what does not fit in memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <mutex>
#include <span>
#include <string>

#include "scute/io/posix.h"
#include "scute/tensor/tensor.h"

namespace scute {

/// Gone when this and every tensor of it are, also when the process is killed. From any thread.
class ScratchFile {
 public:
  /// On the disk of `folder`, which must be there and writable.
  explicit ScratchFile(const std::string& folder);

  /// Error naming the folder when its disk is full.
  void write(int64_t offset, std::span<const std::byte> bytes);
  /// Bytes that were written.
  void read(int64_t offset, std::span<std::byte> bytes) const;
  /// Room for so many bytes behind all that was put here before; where it begins.
  int64_t reserve(int64_t bytes);
  /// Elements that were written from `offset` on, which reserve() gave, mapped.
  Tensor mapped(DType dtype, const Shape& shape, int64_t offset) const;
  /// The tensor's elements put behind what was put here before, and mapped: equal, without memory.
  Tensor put(const Tensor& tensor);

 private:
  std::string folder_;
  Descriptor file_;
  std::mutex guard_;
  int64_t end_ = 0;  ///< of what was put here
};

}  // namespace scute
