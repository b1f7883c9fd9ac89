// What a reader may take for a file of a few bytes.
#pragma once

#include <cstddef>

namespace scute::fuzz {

/// Ends the program when, while this lives, the heap holds more than `free` + `factor` times `size`
/// bytes beyond what it held before. It sees what the address sanitizer sees: in a build without
/// that it does nothing.
class MemoryBound {
 public:
  explicit MemoryBound(size_t size, size_t factor = 256, size_t free = size_t{8} << 20);
  MemoryBound(const MemoryBound&) = delete;
  MemoryBound& operator=(const MemoryBound&) = delete;
  ~MemoryBound();

 private:
  [[maybe_unused]] size_t size_, most_;  ///< read where the sanitizer counts
};

}  // namespace scute::fuzz
