// The pickle inside a PyTorch zip file, read without executing anything: a fixed list of opcodes
// and globals builds a tree of plain values; tensors stay descriptions of where their elements lie.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "scute/tensor/tensor.h"

namespace scute {

/// A tensor as the pickle describes it; offsets and strides count elements.
struct StoredTensor {
  std::string storage;  ///< its elements are in the archive's entry data/STORAGE
  DType dtype;
  int64_t elements = 0;  ///< of the storage; the tensor lies within, which is checked
  int64_t offset = 0;
  Shape shape, stride;
};

/// A value of a kind that is not read; nothing of it was executed or kept.
struct OpaqueValue {
  std::string of;  ///< its class, "pathlib.PosixPath", or what else it is, "a set"
};

/// What a pickle builds, as plain values.
struct PickleValue {
  using List = std::vector<PickleValue>;
  using Dict = std::vector<std::pair<std::string, PickleValue>>;
  using Value = std::variant<std::nullptr_t, bool, int64_t, double, std::string, List, Dict,
                             StoredTensor, OpaqueValue>;

  Value value;

  PickleValue() noexcept;  ///< None
  PickleValue(Value v);
};

/// Read are plain values, OrderedDict, tensors (_rebuild_tensor_v2, _rebuild_parameter, storages of
/// the ten element types) and NumPy's scalars, which become plain numbers. Every other object,
/// bytes, sets, integers beyond 64 bits and dictionaries with keys that are neither text nor number
/// become OpaqueValue; one at the top is an Error naming its class. Error also for an opcode that
/// no such file has, more than 16 MiB, values nested deeper than 128 (so for one that holds
/// itself), and for values, shared ones counted each time, that take more memory than 64 MiB and 64
/// times the pickle's size.
PickleValue parse_torch_pickle(std::span<const std::byte> bytes, std::string_view where);

/// torch's name for a typed storage, e.g. "HalfStorage".
std::string_view storage_name(DType dtype);

}  // namespace scute
