// Memory for many numbers.
#pragma once

#include <cstddef>

namespace scute {

/// At least `bytes` of any content, at a multiple of 64; from 2 MiB on at a multiple of that, in
/// huge pages where the system gives them to those that ask: a fault and an address to look up for
/// 2 MiB, not for 4 KiB. std::bad_alloc when there is none.
std::byte* allocate_memory(size_t bytes);
/// What allocate_memory() gave for so many bytes.
void free_memory(std::byte* memory, size_t bytes) noexcept;

/// Takes the pages with these bytes of a file's mapping, never written to, out of this process;
/// they are read again when they are needed again.
void give_pages_back(const std::byte* first, size_t bytes) noexcept;

/// The same as allocate_memory() for containers.
template <class T>
struct MemoryAllocator {
  using value_type = T;
  MemoryAllocator() = default;
  template <class Other>
  MemoryAllocator(const MemoryAllocator<Other>&) noexcept {}

  T* allocate(size_t count) { return reinterpret_cast<T*>(allocate_memory(count * sizeof(T))); }
  void deallocate(T* memory, size_t count) noexcept {
    free_memory(reinterpret_cast<std::byte*>(memory), count * sizeof(T));
  }
  bool operator==(const MemoryAllocator&) const = default;
};

}  // namespace scute
