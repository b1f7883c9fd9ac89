// PyTorch's zip checkpoints (.pt, .bin), without executing a pickle: a fixed list of opcodes and
// the globals OrderedDict, _rebuild_tensor_v2, _rebuild_parameter and the torch storage types; all
// else is refused by name.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "scute/tensor/tensor.h"

namespace scute {

/// What such a file holds: a tree of Python's plain values and tensors. Dictionary keys are strings
/// (integers are turned into decimal text), tuples read as lists.
struct TorchValue {
  using List = std::vector<TorchValue>;
  using Dict = std::vector<std::pair<std::string, TorchValue>>;
  using Value =
      std::variant<std::nullptr_t, bool, int64_t, double, std::string, List, Dict, Tensor>;

  Value value;

  // Declared, because the implicit ones would need List and Dict complete too early (Clang says
  // so).
  TorchValue() noexcept;  ///< None
  TorchValue(Value v);

  /// Member of a dictionary, or null.
  const TorchValue* find(std::string_view key) const;
};

/// Tensors are mapped when their storage is stored uncompressed, else unpacked. Non-contiguous
/// tensors are refused unless they are a transpose (any order of the dimensions; then copied).
/// Error naming the class when the file holds a pickled module.
TorchValue read_torch(const std::string& path);

/// Atomic; torch.load(path, weights_only=True) reads it.
void write_torch(const std::string& path, const TorchValue& value);

}  // namespace scute
