// The calls a PyTorch pickle makes: a fixed list of globals, storages, tensors.
#include <fmt/core.h>

#include <array>
#include <optional>

#include "scute/base/checked.h"
#include "scute/io/pickle_machine.h"

namespace scute::pickle {
namespace {

struct Global {
  std::string_view name;
  std::optional<DType> storage;  ///< set for the storage types
};
constexpr std::array kGlobals = {
    Global{"collections.OrderedDict", {}},         Global{"torch._utils._rebuild_tensor_v2", {}},
    Global{"torch._utils._rebuild_parameter", {}}, Global{"torch.DoubleStorage", DType::f64},
    Global{"torch.FloatStorage", DType::f32},      Global{"torch.HalfStorage", DType::f16},
    Global{"torch.BFloat16Storage", DType::bf16},  Global{"torch.LongStorage", DType::i64},
    Global{"torch.IntStorage", DType::i32},        Global{"torch.ShortStorage", DType::i16},
    Global{"torch.CharStorage", DType::i8},        Global{"torch.ByteStorage", DType::u8},
    Global{"torch.BoolStorage", DType::boolean},
};
constexpr int64_t kOrderedDict = 0, kRebuildTensor = 1, kRebuildParameter = 2;

}  // namespace

void Machine::push_global(std::string_view module, std::string_view name) {
  const std::string full = fmt::format("{}.{}", module, name);
  for (size_t i = 0; i < kGlobals.size(); ++i) {
    if (kGlobals[i].name == full) return push({Kind::global, static_cast<int64_t>(i)});
  }
  refuse("tensors and plain values",
         fmt::format("a pickled object of class {}; save a state_dict instead", full));
}

/// ('storage', StorageType, key, location, elements)
Slot Machine::persistent(Slot id) {
  const std::vector<Slot>& parts = items(expect(id, Kind::tuple, "a persistent id"));
  if (parts.size() != 5) refuse("5 parts of a storage", fmt::format("{}", parts.size()));
  if (text(expect(parts[0], Kind::text, "a persistent id's kind")) != "storage") {
    refuse("a persistent id 'storage'", text(parts[0]));
  }
  const Global& global = kGlobals[index(expect(parts[1], Kind::global, "a storage type"))];
  const std::string_view key = text(expect(parts[2], Kind::text, "a storage's key"));
  const int64_t elements = expect(parts[4], Kind::integer, "a storage's size").number;
  if (!global.storage) refuse("a storage type", global.name);
  if (elements < 0) refuse("a storage of at least 0 elements", fmt::format("{}", elements));
  const auto [known, fresh] = storage_of_key_.emplace(key, storages_.size());
  if (fresh) return add(Kind::storage, storages_, Storage{key, *global.storage, elements});
  const Storage& other = storages_[known->second];
  if (other.dtype != *global.storage || other.elements != elements) {
    refuse("one type and size for a storage", fmt::format("two for storage {}", key));
  }
  return {Kind::storage, static_cast<int64_t>(known->second)};
}

Slot Machine::reduce(Slot callable, Slot arguments) {
  // A copy: building the result may move the arena that holds the arguments.
  const std::vector<Slot> parts = items(arguments);
  if (callable.number == kOrderedDict) return ordered_dict(parts);
  if (callable.number == kRebuildTensor) return rebuild_tensor(parts);
  if (callable.number == kRebuildParameter) {  // (data, requires_grad, hooks)
    if (parts.size() != 3) refuse("3 parts of a parameter", fmt::format("{}", parts.size()));
    return expect(parts[0], Kind::tensor, "a parameter's data");
  }
  refuse("a call that builds a tensor or dictionary", kGlobals[index(callable)].name);
}

/// No argument, or one sequence of (key, value) pairs.
Slot Machine::ordered_dict(const std::vector<Slot>& arguments) {
  DictNode node{true, {}};
  if (arguments.size() > 1) refuse("at most 1 argument", fmt::format("{}", arguments.size()));
  if (arguments.size() == 1) {
    for (const Slot pair : items(expect(arguments[0], Kind::list, "an OrderedDict's content"))) {
      if (pair.kind != Kind::tuple && pair.kind != Kind::list) refuse("a pair", name_of(pair.kind));
      if (items(pair).size() != 2) refuse("a pair", "another length");
      node.items.emplace_back(items(pair)[0], items(pair)[1]);
    }
  }
  return add(Kind::dict, dicts_, std::move(node));
}

Shape Machine::dimensions(Slot tuple, std::string_view what) const {
  Shape out;
  for (const Slot part : items(expect(tuple, Kind::tuple, what))) {
    out.push_back(expect(part, Kind::integer, what).number);
    if (out.back() < 0)
      refuse(fmt::format("{} of at least 0", what), fmt::format("{}", out.back()));
  }
  return out;
}

/// (storage, offset, size, stride, requires_grad, hooks[, metadata])
Slot Machine::rebuild_tensor(const std::vector<Slot>& arguments) {
  if (arguments.size() < 6 || arguments.size() > 7) {
    refuse("6 or 7 parts of a tensor", fmt::format("{}", arguments.size()));
  }
  const Storage& storage = storages_[index(expect(arguments[0], Kind::storage, "a tensor's data"))];
  StoredTensor tensor;
  tensor.storage = storage.key;
  tensor.dtype = storage.dtype;
  tensor.elements = storage.elements;
  tensor.offset = expect(arguments[1], Kind::integer, "a tensor's offset").number;
  tensor.shape = dimensions(arguments[2], "a tensor's size");
  tensor.stride = dimensions(arguments[3], "a tensor's stride");
  check_inside(tensor);
  return add(Kind::tensor, tensors_, std::move(tensor));
}

void Machine::check_inside(const StoredTensor& tensor) const {
  if (tensor.shape.size() != tensor.stride.size()) {
    refuse("as many strides as dimensions",
           fmt::format("{} and {}", tensor.stride.size(), tensor.shape.size()));
  }
  bool fits = tensor.offset >= 0 && tensor.offset <= tensor.elements;
  if (fits && element_count(tensor.shape, where_) > 0) {
    int64_t last = tensor.offset;
    for (size_t i = 0; i < tensor.shape.size(); ++i) {
      const int64_t reach = checked_mul(tensor.shape[i] - 1, tensor.stride[i], where_);
      last = checked_add(last, reach, where_);
    }
    fits = last < tensor.elements;
  }
  if (!fits) {
    refuse(fmt::format("a tensor within the {} elements of storage {}", tensor.elements,
                       tensor.storage),
           fmt::format("offset {}, size {}, stride {}", tensor.offset, to_string(tensor.shape),
                       to_string(tensor.stride)));
  }
}

}  // namespace scute::pickle

namespace scute {

std::string_view storage_name(DType dtype) {
  for (const pickle::Global& global : pickle::kGlobals) {
    if (global.storage == dtype) return global.name.substr(6);  // without "torch."
  }
  return "";
}

}  // namespace scute
