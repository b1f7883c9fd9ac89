// PyTorch's zip checkpoints (.pt, .bin), without executing a pickle: pickle.h says what is read;
// all else stays an opaque value, which knows its class's name alone.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "scute/io/input.h"
#include "scute/io/pickle.h"
#include "scute/tensor/tensor.h"

namespace scute {

/// What such a file holds: a tree of Python's plain values and tensors. Dictionary keys are strings
/// (numbers are turned into decimal text), tuples read as lists.
struct TorchValue {
  using List = std::vector<TorchValue>;
  using Dict = std::vector<std::pair<std::string, TorchValue>>;
  using Value = std::variant<std::nullptr_t, bool, int64_t, double, std::string, List, Dict, Tensor,
                             OpaqueValue>;

  Value value;

  // Declared, because the implicit ones would need List and Dict complete too early (Clang says
  // so).
  TorchValue() noexcept;  ///< None
  TorchValue(Value v);

  /// Member of a dictionary, or null.
  const TorchValue* find(std::string_view key) const;
};

/// Tensors are mapped when their storage is stored uncompressed and they are contiguous in it, else
/// unpacked or copied; any strides, 0 too. Error naming the class when the file holds a pickled
/// module.
TorchValue read_torch(const InputFile& file);
TorchValue read_torch(const std::string& path);

/// Atomic; torch.load(path, weights_only=True) reads it. Opaque values are left out of dictionaries
/// and are None elsewhere.
void write_torch(const std::string& path, const TorchValue& value);

}  // namespace scute
