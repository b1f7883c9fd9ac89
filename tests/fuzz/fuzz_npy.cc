// Any bytes as a .npy file: a tensor of the bytes after the header, at most twice as wide (u2 is
// read as i32, u4 as i64), or an Error.
#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "scute/base/error.h"
#include "scute/io/npy.h"
#include "tests/fuzz/bounds.h"

namespace scute::fuzz_npy {

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const scute::fuzz::MemoryBound bound(size);
  try {
    const auto tensor = scute::parse_npy(std::as_bytes(std::span(data, size)), "fuzz");
    if (tensor.bytes().size() > 2 * size) std::abort();
  } catch (const scute::Error&) {
  }
  return 0;
}

}  // namespace scute::fuzz_npy
