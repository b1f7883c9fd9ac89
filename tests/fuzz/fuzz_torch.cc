// Any bytes as a PyTorch checkpoint, and as an .npz: entries are unpacked, tensors mapped, unpacked
// or copied by their strides, all of their elements there; or an Error.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>

#include "scute/io/npy.h"
#include "scute/io/torch_zip.h"
#include "tests/fuzz/bounds.h"
#include "tests/fuzz/memory_file.h"
#include "tests/fuzz/refusal.h"

namespace scute::fuzz_torch {
namespace {

using scute::TorchValue;
using scute::fuzz::may_be_refused;

/// The sum of all bytes, so that each is read.
unsigned sum_of(const scute::Tensor& tensor) {
  unsigned sum = 0;
  for (const std::byte byte : tensor.bytes()) sum += std::to_integer<unsigned>(byte);
  return sum;
}

unsigned sum_of(const TorchValue& value) {
  unsigned sum = 0;
  if (const auto* list = std::get_if<TorchValue::List>(&value.value)) {
    for (const TorchValue& item : *list) sum += sum_of(item);
  } else if (const auto* dict = std::get_if<TorchValue::Dict>(&value.value)) {
    for (const auto& [key, item] : *dict) sum += sum_of(item);
  } else if (const auto* tensor = std::get_if<scute::Tensor>(&value.value)) {
    sum += sum_of(*tensor);
  }
  return sum;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  // Of entries that are packed, 64 MB may come out in any case (scute/io/zip.h).
  const scute::fuzz::MemoryBound bound(size, 512, size_t{160} << 20);
  const scute::fuzz::MemoryFile file({data, size});
  volatile unsigned sum = 0;
  may_be_refused([&] { sum = sum_of(scute::read_torch(file.path())); });
  may_be_refused([&] {
    for (const auto& array : scute::read_npz(file.path())) sum = sum + sum_of(array.tensor);
  });
  return 0;
}

}  // namespace scute::fuzz_torch
