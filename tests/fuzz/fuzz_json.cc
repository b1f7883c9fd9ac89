// Any bytes as JSON: refused with an Error, or a value that survives being written and read again.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "scute/base/error.h"
#include "scute/base/json.h"
#include "tests/fuzz/bounds.h"

namespace scute::fuzz_json {

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const scute::fuzz::MemoryBound bound(size);
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  scute::Json value;
  try {
    value = scute::Json::parse(text, "fuzz");
  } catch (const scute::Error&) {
    return 0;
  }
  // What scute wrote it must read, so an Error from here on ends the program. Texts are compared,
  // not values, because NaN is unequal to itself.
  for (const int indent : {-1, 2}) {
    const std::string written = value.dump(indent);
    const scute::Json again = scute::Json::parse(written, "fuzz");
    if (again.dump(indent) != written) std::abort();
  }
  return 0;
}

}  // namespace scute::fuzz_json
