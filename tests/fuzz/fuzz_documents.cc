// Any bytes as a .jsonl and as a .txt.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "scute/base/error.h"
#include "scute/data/documents.h"
#include "tests/fuzz/bounds.h"

namespace scute::fuzz_documents {

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const scute::fuzz::MemoryBound bound(size);
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  try {
    scute::parse_txt(bytes, "fuzz.txt");
    scute::parse_jsonl(bytes, "fuzz.jsonl");
  } catch (const scute::Error&) {
  }
  return 0;
}

}  // namespace scute::fuzz_documents
