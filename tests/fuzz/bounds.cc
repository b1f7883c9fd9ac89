#include "tests/fuzz/bounds.h"

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstdio>
#include <cstdlib>

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SCUTE_COUNTS_MEMORY
#endif
#endif

#ifdef SCUTE_COUNTS_MEMORY
#include <sanitizer/allocator_interface.h>
#endif

namespace scute::fuzz {

#ifdef SCUTE_COUNTS_MEMORY
namespace {

std::atomic<int64_t> held = 0, peak = 0;

void note_taken(const volatile void*, size_t size) {
  const int64_t now = held += static_cast<int64_t>(size);
  if (now > peak) peak = now;
}

void note_given_back(const volatile void* memory) {
  if (memory == nullptr) return;
  held -= static_cast<int64_t>(__sanitizer_get_allocated_size(const_cast<const void*>(memory)));
}

}  // namespace

MemoryBound::MemoryBound(size_t size, size_t factor, size_t free)
    : size_(size), most_(free + factor * size) {
  static const int installed =
      __sanitizer_install_malloc_and_free_hooks(note_taken, note_given_back);
  if (installed == 0) std::abort();
  held = peak = 0;
}

MemoryBound::~MemoryBound() {
  if (peak <= static_cast<int64_t>(most_)) return;
  std::fprintf(stderr, "ERROR: %lld bytes of memory for a file of %zu, at most %zu are allowed\n",
               static_cast<long long>(peak), size_, most_);
  std::abort();
}
#else
MemoryBound::MemoryBound(size_t size, size_t factor, size_t free)
    : size_(size), most_(free + factor * size) {}

MemoryBound::~MemoryBound() = default;
#endif

}  // namespace scute::fuzz
