// Any bytes as a tokenizer.json: refused with an Error, or a tokenizer that encodes and decodes,
// whatever its expressions are.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "scute/base/error.h"
#include "scute/text/tokenizer.h"
#include "tests/fuzz/bounds.h"

namespace scute::fuzz_tokenizer_json {

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const scute::fuzz::MemoryBound bound(size, 256, size_t{64} << 20);
  try {
    const auto tokenizer =
        scute::Tokenizer::parse({reinterpret_cast<const char*>(data), size}, "fuzz");
    for (const std::string_view text : {"It's  a\tte\xCC\x81st 12\n<|endoftext|> \xFF", "", "   ",
                                        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
                                        "aaaaaaaaaaaaaaaaaaaaaaaa\u00C5!"}) {
      try {
        tokenizer.decode(tokenizer.encode(text));
      } catch (const scute::Error&) {  // a byte outside the vocabulary
      }
    }
  } catch (const scute::Error&) {
  }
  return 0;
}

}  // namespace scute::fuzz_tokenizer_json
