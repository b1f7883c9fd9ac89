#include "scute/base/memory.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <new>

namespace scute {
namespace {

constexpr size_t kHugePage = size_t{2} << 20;

std::align_val_t alignment_of(size_t bytes) {
  return std::align_val_t{bytes < kHugePage ? size_t{64} : kHugePage};
}

}  // namespace

std::byte* allocate_memory(size_t bytes) {
  auto* memory = static_cast<std::byte*>(::operator new(bytes, alignment_of(bytes)));
  // As many as fit in whole, so that no more memory is held. Advice: no failure where there are
  // none.
  if (bytes >= kHugePage) ::madvise(memory, bytes / kHugePage * kHugePage, MADV_HUGEPAGE);
  return memory;
}

void free_memory(std::byte* memory, size_t bytes) noexcept {
  ::operator delete(memory, alignment_of(bytes));
}

void give_pages_back(const std::byte* first, size_t bytes) noexcept {
  const auto page = static_cast<uintptr_t>(::sysconf(_SC_PAGESIZE));
  const auto address = reinterpret_cast<uintptr_t>(first);
  // The pages at both ends may also hold what others read: giving them back costs a fault.
  const uintptr_t begin = address / page * page, end = (address + bytes + page - 1) / page * page;
  ::madvise(reinterpret_cast<void*>(begin), end - begin, MADV_DONTNEED);
}

}  // namespace scute
