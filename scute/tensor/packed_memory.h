// Memory for tensors that are read together.
#pragma once

#include <cstddef>
#include <memory>
#include <mutex>

#include "scute/tensor/tensor.h"

namespace scute {

/// Puts tensors one behind the other into large pieces of memory, which lie in huge pages
/// (base/memory.h), so that also those of less than 2 MiB do. A piece lives as long as one of its
/// tensors. From any thread.
class PackedMemory {
 public:
  /// A read-only copy in here; what is large enough for pages of its own stays as it is.
  Tensor keep(const Tensor& tensor);

 private:
  std::mutex mutex_;
  std::shared_ptr<std::byte> piece_;
  size_t used_ = 0;
};

/// `tensor`, kept by `memory` where there is one.
Tensor kept_by(PackedMemory* memory, Tensor tensor);

}  // namespace scute
