#include "scute/base/memory.h"

#include <sys/mman.h>

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

}  // namespace scute
