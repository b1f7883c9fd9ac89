// The calls a PyTorch pickle makes: a fixed list of globals, storages, tensors.
#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <optional>

#include "scute/base/checked.h"
#include "scute/io/pickle_machine.h"
#include "scute/tensor/dtype.h"

namespace scute::pickle {
namespace {

struct Global {
  std::string_view name;
  std::optional<DType> storage;  ///< set for the storage types
};
constexpr std::array kGlobals = {
    Global{"collections.OrderedDict", {}},
    Global{"torch._utils._rebuild_tensor_v2", {}},
    Global{"torch._utils._rebuild_parameter", {}},
    Global{"torch.DoubleStorage", DType::f64},
    Global{"torch.FloatStorage", DType::f32},
    Global{"torch.HalfStorage", DType::f16},
    Global{"torch.BFloat16Storage", DType::bf16},
    Global{"torch.LongStorage", DType::i64},
    Global{"torch.IntStorage", DType::i32},
    Global{"torch.ShortStorage", DType::i16},
    Global{"torch.CharStorage", DType::i8},
    Global{"torch.ByteStorage", DType::u8},
    Global{"torch.BoolStorage", DType::boolean},
    Global{"numpy.dtype", {}},
    Global{"numpy.core.multiarray.scalar", {}},
    Global{"numpy._core.multiarray.scalar", {}},
    Global{"_codecs.encode", {}},
};
constexpr int64_t kOrderedDict = 0, kRebuildTensor = 1, kRebuildParameter = 2, kNumpyType = 13,
                  kNumpyScalar = 14, kNumpyScalarOf2 = 15, kEncode = 16;
/// No call that is read has more arguments; others are not looked at.
constexpr size_t kMostArguments = 7;
/// Longer names of modules and classes are cut: a few bytes of pickle repeat any number of them.
constexpr size_t kLongestName = 100;

/// The number that `bytes` are, low byte first; nothing for types that no plain number holds.
std::optional<Slot> number_of(std::string_view code, const std::string& bytes) {
  const auto read = [&]<class T>(T value) {
    std::memcpy(&value, bytes.data(), sizeof(T));
    return value;
  };
  const auto integer = [](int64_t value) { return Slot{Kind::integer, value}; };
  const auto real = [](double value) { return Slot{Kind::real, std::bit_cast<int64_t>(value)}; };
  if (code.size() != 2 || bytes.size() != static_cast<size_t>(code[1] - '0')) return {};
  if (code == "f8") return real(read(double{}));
  if (code == "f4") return real(double{read(float{})});
  if (code == "f2") return real(double{to_float(f16{read(uint16_t{})})});
  if (code == "i8") return integer(read(int64_t{}));
  if (code == "i4") return integer(read(int32_t{}));
  if (code == "i2") return integer(read(int16_t{}));
  if (code == "i1") return integer(read(int8_t{}));
  if (code == "u4") return integer(read(uint32_t{}));
  if (code == "u2") return integer(read(uint16_t{}));
  if (code == "u1") return integer(read(uint8_t{}));
  if (code == "b1") return Slot{Kind::boolean, bytes[0] != 0 ? 1 : 0};
  const uint64_t wide = code == "u8" ? read(uint64_t{}) : ~uint64_t{0};
  return std::in_range<int64_t>(wide) ? std::optional(integer(static_cast<int64_t>(wide)))
                                      : std::nullopt;
}

}  // namespace

std::string_view global_name(int64_t index) { return kGlobals[static_cast<size_t>(index)].name; }

void Machine::push_global(std::string_view module, std::string_view name) {
  const std::string full =
      fmt::format("{}.{}", module.substr(0, kLongestName), name.substr(0, kLongestName));
  for (size_t i = 0; i < kGlobals.size(); ++i) {
    if (kGlobals[i].name == full) return push({Kind::global, static_cast<int64_t>(i)});
  }
  push(opaque(full));
}

Slot Machine::opaque(std::string_view of) {
  const auto [known, fresh] =
      name_index_.emplace(std::string(of), static_cast<int64_t>(names_.size()));
  if (fresh) names_.emplace_back(of);
  return {Kind::opaque, known->second};
}

/// ('storage', StorageType, key, location, elements)
Slot Machine::persistent(Slot id) {
  const std::vector<Slot>& parts = items(expect(id, Kind::tuple, "a persistent id"));
  if (parts.size() != 5) refuse("5 parts of a storage", fmt::format("{}", parts.size()));
  if (text(expect(parts[0], Kind::text, "a persistent id's kind")) != "storage") {
    refuse("a persistent id 'storage'", text(parts[0]));
  }
  if (parts[1].kind == Kind::opaque) return parts[1];  // of elements that are not read
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
  if (callable.kind == Kind::opaque) return callable;
  expect(callable, Kind::global, "what is called");
  if (items(arguments).size() > kMostArguments) {
    refuse(fmt::format("at most {} arguments", kMostArguments),
           fmt::format("{}", items(arguments).size()));
  }
  // A copy: building the result may move the arena that holds the arguments.
  return call_known(callable.number, std::vector<Slot>(items(arguments)));
}

Slot Machine::call_known(int64_t callable, const std::vector<Slot>& parts) {
  switch (callable) {
    case kOrderedDict:
      return ordered_dict(parts);
    case kRebuildTensor:
      return rebuild_tensor(parts);
    case kRebuildParameter:  // (data, requires_grad, hooks)
      if (parts.size() != 3) refuse("3 parts of a parameter", fmt::format("{}", parts.size()));
      if (parts[0].kind == Kind::opaque) return parts[0];
      return expect(parts[0], Kind::tensor, "a parameter's data");
    case kNumpyType:
      return numpy_type(parts);
    case kNumpyScalar:
    case kNumpyScalarOf2:
      return numpy_scalar(parts);
    case kEncode:
      return encoded(parts);
    default:
      refuse("a call that builds a tensor or dictionary", global_name(callable));
  }
}

/// ("f8", align, copy)
Slot Machine::numpy_type(const std::vector<Slot>& arguments) {
  if (arguments.empty() || arguments[0].kind != Kind::text) return opaque("numpy.dtype");
  return add(Kind::dtype, types_, ElementType{text(arguments[0])});
}

/// (type, its bytes): a plain number, as it was.
Slot Machine::numpy_scalar(const std::vector<Slot>& arguments) {
  const bool known =
      arguments.size() == 2 && arguments[0].kind == Kind::dtype && arguments[1].kind == Kind::bytes;
  if (!known) return opaque("numpy.generic");
  const ElementType& type = types_[index(arguments[0])];
  if (bytes_[index(arguments[1])].size() > 8) return opaque("numpy.generic");
  std::string bytes = bytes_[index(arguments[1])];
  if (type.big) std::ranges::reverse(bytes);
  return number_of(type.code, bytes).value_or(opaque("numpy.generic"));
}

/// (text, "latin1"): how protocol 2 stores bytes, a character each.
Slot Machine::encoded(const std::vector<Slot>& arguments) {
  if (arguments.empty() || arguments[0].kind != Kind::text) return opaque("bytes");
  const std::string_view from = text(arguments[0]);
  // Numbers are all that is read of bytes: 8 characters of 2 bytes at most.
  if (from.size() > 16) return opaque("bytes");
  std::string out;
  for (size_t i = 0; i < from.size(); ++i) {
    const auto byte = static_cast<unsigned char>(from[i]);
    if (byte < 0x80) {
      out += from[i];
      continue;
    }
    const auto next = static_cast<unsigned char>(i + 1 < from.size() ? from[++i] : '\0');
    if ((byte & 0xfc) != 0xc0 || (next & 0xc0) != 0x80) return opaque("bytes");
    out += static_cast<char>((byte & 3) << 6 | (next & 0x3f));
  }
  return add(Kind::bytes, bytes_, std::move(out));
}

/// No argument, or one sequence of (key, value) pairs.
Slot Machine::ordered_dict(const std::vector<Slot>& arguments) {
  DictNode node{true, {}};
  if (arguments.size() > 1) refuse("at most 1 argument", fmt::format("{}", arguments.size()));
  if (arguments.size() == 1) {
    const std::vector<Slot>& pairs =
        items(expect(arguments[0], Kind::list, "an OrderedDict's content"));
    copied_ += pairs.size();
    // A list costs a byte a pair at least, so that a file without shared lists never gets here.
    if (copied_ > in_.position()) refuse("lists of pairs used once", "a pickle that grows");
    for (const Slot pair : pairs) {
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
  if (arguments[0].kind == Kind::opaque) return arguments[0];
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
