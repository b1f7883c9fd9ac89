#include "scute/tensor/packed_memory.h"

#include <algorithm>
#include <utility>

#include "scute/base/memory.h"

namespace scute {
namespace {

/// Pages that nothing lies in are never given by the system, so that the end of a piece costs
/// addresses alone.
constexpr size_t kPiece = size_t{32} << 20;
/// Tensors from here on lose less than a sixteenth to pages that are not huge.
constexpr size_t kLarge = size_t{32} << 20;
constexpr size_t kAlignment = 64;

}  // namespace

Tensor PackedMemory::keep(const Tensor& tensor) {
  const auto bytes = tensor.bytes();
  if (bytes.empty() || bytes.size() >= kLarge) return tensor;
  std::byte* to = nullptr;
  std::shared_ptr<std::byte> piece;
  {
    const std::lock_guard lock(mutex_);
    if (piece_ == nullptr || bytes.size() > kPiece - used_) {
      piece_ = {allocate_memory(kPiece), [](std::byte* p) { free_memory(p, kPiece); }};
      used_ = 0;
    }
    piece = piece_;
    to = piece.get() + used_;
    used_ = std::min(kPiece, (used_ + bytes.size() + kAlignment - 1) / kAlignment * kAlignment);
  }
  std::ranges::copy(bytes, to);
  return {tensor.dtype(), tensor.shape(), std::move(piece), to};
}

Tensor kept_by(PackedMemory* memory, Tensor tensor) {
  return memory == nullptr ? std::move(tensor) : memory->keep(tensor);
}

}  // namespace scute
