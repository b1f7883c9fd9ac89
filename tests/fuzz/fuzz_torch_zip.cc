// Any bytes as a zip archive and as the pickle in one: entries inside the file, tensors inside
// their storages, or an Error.
#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "scute/base/error.h"
#include "scute/io/pickle.h"
#include "scute/io/zip.h"
#include "tests/fuzz/bounds.h"

namespace scute::fuzz_torch_zip {

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  // Shared values may take 64 MB in any case (scute/io/pickle.h).
  const scute::fuzz::MemoryBound bound(size, 256, size_t{96} << 20);
  const auto bytes = std::as_bytes(std::span(data, size));
  try {
    for (const auto& entry : scute::parse_zip(bytes, "fuzz")) {
      const bool inside = entry.offset >= 0 && entry.packed >= 0 &&
                          entry.offset <= static_cast<int64_t>(size) - entry.packed;
      if (!inside) std::abort();
      if (!entry.stored || !entry.name.ends_with("/data.pkl")) continue;
      scute::parse_torch_pickle(
          bytes.subspan(static_cast<size_t>(entry.offset), static_cast<size_t>(entry.size)),
          "fuzz");
    }
  } catch (const scute::Error&) {
  }
  try {
    scute::parse_torch_pickle(bytes, "fuzz");
  } catch (const scute::Error&) {
  }
  return 0;
}

}  // namespace scute::fuzz_torch_zip
