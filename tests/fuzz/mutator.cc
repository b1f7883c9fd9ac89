// libFuzzer's mutator of one format: SCUTE_MUTATION is a function of structured.h.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "tests/fuzz/structured.h"

extern "C" size_t LLVMFuzzerMutate(uint8_t* data, size_t size, size_t most);

namespace scute::fuzz {

std::string mutated_bytes(std::string_view bytes, Draw&, size_t most) {
  std::string out(bytes.substr(0, most));
  const size_t size = out.size();
  out.resize(std::max<size_t>(most, 1));
  out.resize(LLVMFuzzerMutate(reinterpret_cast<uint8_t*>(out.data()), size, out.size()));
  return out;
}

std::string mutated_in_place(std::string_view bytes, Draw& draw) {
  std::string out = mutated_bytes(bytes, draw, bytes.size());
  out.resize(bytes.size());
  return out;
}

}  // namespace scute::fuzz

extern "C" size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t size, size_t most,
                                          unsigned int seed) {
  using namespace scute::fuzz;
  // What breaks the structure must be tried too.
  constexpr size_t kPlain = 8;
  Draw draw(seed);
  if (draw.one_in(kPlain)) return LLVMFuzzerMutate(data, size, most);
  const std::string_view file(reinterpret_cast<const char*>(data), size);
  const std::string out = SCUTE_MUTATION(file, draw, most);
  if (out.empty() || out.size() > most) return LLVMFuzzerMutate(data, size, most);
  std::ranges::copy(out, data);
  return out.size();
}
