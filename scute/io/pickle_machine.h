// Pickle's stack machine, cut down to what a state_dict and what lies beside it need; builds plain
// nodes, executes nothing.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "scute/io/byte_reader.h"
#include "scute/io/pickle.h"

namespace scute::pickle {

enum class Kind : uint8_t {
  none,
  boolean,
  integer,
  real,
  text,
  list,
  tuple,
  dict,
  global,
  storage,
  tensor,
  bytes,
  dtype,  ///< NumPy's description of an element
  opaque  ///< what is not read; all that is kept of it is a name
};

/// "a list", "an integer", ….
std::string_view name_of(Kind kind);
/// "torch.FloatStorage": of the globals that are read.
std::string_view global_name(int64_t index);

/// A Python value: itself when plain, else an index into the Machine's arena of its kind. Lists and
/// dictionaries are shared by reference, as in Python.
struct Slot {
  Kind kind = Kind::none;
  int64_t number = 0;
};

struct DictNode {
  bool ordered;  ///< an OrderedDict, which may carry attributes
  std::vector<std::pair<Slot, Slot>> items;
};

/// "f8" and whether the high byte comes first.
struct ElementType {
  std::string_view code;
  bool big = false;
};

struct Storage {
  std::string_view key;
  DType dtype;
  int64_t elements;
};

/// Pickle's stack machine.
class Machine {
 public:
  Machine(std::span<const std::byte> pickle, std::string_view where)
      : in_(pickle, where), where_(where) {}

  /// The value that the pickle describes.
  Slot run();

  std::string_view text(Slot slot) const { return texts_[index(slot)]; }
  const std::vector<Slot>& items(Slot slot) const { return lists_[index(slot)]; }
  const DictNode& dict(Slot slot) const { return dicts_[index(slot)]; }
  const StoredTensor& tensor(Slot slot) const { return tensors_[index(slot)]; }
  /// What an opaque value is, the name of a global, or what a value of another kind is.
  std::string_view class_of(Slot slot) const;

  [[noreturn]] void refuse(std::string_view expected, std::string_view found) const;

 private:
  static size_t index(Slot slot) { return static_cast<size_t>(slot.number); }

  template <class Arena, class Node>
  static Slot add(Kind kind, Arena& arena, Node node) {
    arena.push_back(std::move(node));
    return {kind, static_cast<int64_t>(arena.size()) - 1};
  }

  void push(Slot slot) { stack_.push_back(slot); }
  /// Values below the innermost mark belong to someone else.
  size_t floor() const { return marks_.empty() ? 0 : marks_.back(); }
  Slot pop() {
    const Slot slot = top();
    stack_.pop_back();
    return slot;
  }
  Slot top() const {
    if (stack_.size() <= floor()) refuse("a value on the stack", "none");
    return stack_.back();
  }
  Slot expect(Slot slot, Kind kind, std::string_view what) const;
  std::vector<Slot> pop_to_mark();
  void push_tuple(std::vector<Slot> parts) { push(add(Kind::tuple, lists_, std::move(parts))); }
  void pop_tuple(size_t count) {
    std::vector<Slot> parts(count);
    for (size_t i = count; i-- > 0;) parts[i] = pop();
    push_tuple(std::move(parts));
  }

  bool plain(uint8_t opcode);
  bool binary(uint8_t opcode);
  bool container(uint8_t opcode);
  bool change(uint8_t opcode);
  bool memo(uint8_t opcode);
  bool call(uint8_t opcode);

  void push_text(std::string_view text) { push(add(Kind::text, texts_, text)); }
  void push_bytes(size_t length);
  void push_integer(size_t length);
  void set_items(std::vector<Slot> parts);
  void append(std::span<const Slot> parts);
  void put(uint32_t entry, Slot slot);
  void build(Slot state);
  void push_global(std::string_view module, std::string_view name);
  /// A value of which only this is known; names are kept once.
  Slot opaque(std::string_view of);
  Slot persistent(Slot id);
  Slot reduce(Slot callable, Slot arguments);
  Slot call_known(int64_t callable, const std::vector<Slot>& parts);
  Slot ordered_dict(const std::vector<Slot>& arguments);
  Slot numpy_type(const std::vector<Slot>& arguments);
  Slot numpy_scalar(const std::vector<Slot>& arguments);
  Slot encoded(const std::vector<Slot>& arguments);
  Slot rebuild_tensor(const std::vector<Slot>& arguments);
  Shape dimensions(Slot tuple, std::string_view what) const;
  void check_inside(const StoredTensor& tensor) const;

  ByteReader in_;
  std::string_view where_;
  /// Deques grow without holding everything twice.
  std::deque<Slot> stack_;
  std::vector<size_t> marks_;
  std::deque<Slot> memo_;                ///< entries 0, 1, …, as every writer numbers them
  std::map<uint32_t, Slot> later_memo_;  ///< entries behind a gap
  std::deque<std::string_view> texts_;
  std::deque<std::vector<Slot>> lists_;  ///< lists and tuples
  std::deque<DictNode> dicts_;
  std::vector<Storage> storages_;
  std::map<std::string_view, size_t> storage_of_key_;
  std::deque<StoredTensor> tensors_;
  std::deque<std::string> bytes_;
  std::vector<ElementType> types_;
  std::vector<std::string> names_;  ///< of opaque values
  std::map<std::string, int64_t> name_index_;
  size_t copied_ = 0;  ///< items of dictionaries made from lists, which a pickle may share
};

}  // namespace scute::pickle
