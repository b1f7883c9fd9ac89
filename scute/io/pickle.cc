#include "scute/io/pickle.h"

#include <fmt/core.h>

#include <bit>

#include "scute/base/error.h"
#include "scute/base/repeated_key.h"
#include "scute/io/pickle_machine.h"

namespace scute {
namespace {

using pickle::Kind;
using pickle::Machine;
using pickle::Slot;

/// 16 MiB describe some 100,000 tensors. A byte of pickle costs the machine up to 48 bytes.
constexpr size_t kMaxPickle = size_t{16} << 20;
constexpr int kMaxDepth = 128;
/// Of memory, for each byte of the pickle and in any case: shared values are written once and
/// unfolded here, and a value of a byte takes more than a hundred as a node.
constexpr int64_t kMaxUnfold = 64, kFreeUnfold = int64_t{64} << 20;

/// The tree under a slot, with what is shared written out each time, within a budget of bytes.
class Unfolder {
 public:
  Unfolder(const Machine& machine, int64_t budget) : machine_(machine), budget_(budget) {}

  PickleValue unfold(Slot slot, int depth = 0) {
    if (depth > kMaxDepth) machine_.refuse("values nested at most 128 deep", "deeper ones");
    switch (slot.kind) {
      case Kind::none:
        return {nullptr};
      case Kind::boolean:
        return {slot.number != 0};
      case Kind::integer:
        return {slot.number};
      case Kind::real:
        return {std::bit_cast<double>(slot.number)};
      case Kind::text:
        return {text(slot)};
      case Kind::list:
      case Kind::tuple: {
        PickleValue::List out;
        spend(machine_.items(slot).size() * sizeof(PickleValue));
        out.reserve(machine_.items(slot).size());
        for (const Slot item : machine_.items(slot)) out.push_back(unfold(item, depth + 1));
        return {std::move(out)};
      }
      case Kind::dict:
        return {dict(slot, depth)};
      case Kind::tensor: {
        const StoredTensor& tensor = machine_.tensor(slot);
        spend(tensor.storage.size() + 2 * sizeof(int64_t) * tensor.shape.size());
        return {tensor};
      }
      default:
        return opaque(machine_.class_of(slot));
    }
  }

 private:
  /// Before it is taken: what a list holds as one, not value by value, because others are open.
  void spend(size_t cost) {
    budget_ -= static_cast<int64_t>(cost);
    if (budget_ < 0)
      machine_.refuse("values shared a few times", "a pickle that unfolds without end");
  }
  std::string text(Slot slot) {
    const std::string_view view = machine_.text(slot);
    spend(view.size());
    return std::string(view);
  }
  PickleValue opaque(std::string_view of) {
    spend(of.size());
    return {OpaqueValue{std::string(of)}};
  }
  PickleValue::Value dict(Slot slot, int depth) {
    PickleValue::Dict out;
    spend(machine_.dict(slot).items.size() * sizeof(PickleValue::Dict::value_type));
    out.reserve(machine_.dict(slot).items.size());
    for (const auto& [key, value] : machine_.dict(slot).items) {
      if (key.kind != Kind::text && key.kind != Kind::integer && key.kind != Kind::real) {
        return opaque(fmt::format("dict with a key that is {}", name_of(key.kind))).value;
      }
      std::string name = key.kind == Kind::text ? text(key)
                         : key.kind == Kind::real
                             ? fmt::format("{}", std::bit_cast<double>(key.number))
                             : std::to_string(key.number);
      out.emplace_back(std::move(name), unfold(value, depth + 1));
    }
    if (const std::string* key = repeated_key(out)) {
      machine_.refuse("each key once in a dictionary", *key);
    }
    return {std::move(out)};
  }

  const Machine& machine_;
  int64_t budget_;
};

}  // namespace

PickleValue::PickleValue() noexcept : value(nullptr) {}

PickleValue::PickleValue(Value v) : value(std::move(v)) {}

PickleValue parse_torch_pickle(std::span<const std::byte> bytes, std::string_view where) {
  if (bytes.size() > kMaxPickle) {
    fail(where, fmt::format("a pickle of at most {} bytes", kMaxPickle),
         fmt::format("{}", bytes.size()));
  }
  Machine machine(bytes, where);
  const Slot root = machine.run();
  const int64_t budget = kFreeUnfold + kMaxUnfold * static_cast<int64_t>(bytes.size());
  PickleValue out = Unfolder(machine, budget).unfold(root);
  if (const auto* opaque = std::get_if<OpaqueValue>(&out.value)) {
    machine.refuse(
        "tensors and plain values",
        fmt::format("a pickled object of class {}; save a state_dict instead", opaque->of));
  }
  return out;
}

}  // namespace scute
