// Any bytes as a safetensors file: accepted with extents inside it, or refused with an Error.
#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "scute/base/error.h"
#include "scute/io/safetensors.h"
#include "tests/fuzz/bounds.h"

namespace scute::fuzz_safetensors {

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const scute::fuzz::MemoryBound bound(size);
  const auto bytes = std::as_bytes(std::span(data, size));
  try {
    const auto header = scute::parse_safetensors(bytes, static_cast<int64_t>(size), "fuzz");
    for (const auto& entry : header.entries) {
      if (entry.begin < 8 || entry.end < entry.begin || entry.end > static_cast<int64_t>(size)) {
        std::abort();
      }
    }
  } catch (const scute::Error&) {
  }
  return 0;
}

}  // namespace scute::fuzz_safetensors
