#include "scute/io/pickle_machine.h"

#include <fmt/core.h>

#include <array>
#include <bit>

#include "scute/base/error.h"

namespace scute::pickle {

std::string_view name_of(Kind kind) {
  constexpr std::array<std::string_view, 14> kNames = {
      "None",     "a bool",  "an integer",      "a float",  "a string",
      "a list",   "a tuple", "a dictionary",    "a class",  "a storage",
      "a tensor", "bytes",   "an element type", "an object"};
  return kNames[static_cast<size_t>(kind)];
}

Slot Machine::run() {
  while (true) {
    const auto opcode = in_.little<uint8_t>();
    if (opcode == '.') break;
    if (!plain(opcode) && !binary(opcode) && !container(opcode) && !change(opcode) &&
        !memo(opcode) && !call(opcode)) {
      refuse("an opcode of a state_dict", fmt::format("opcode 0x{:02x}", opcode));
    }
  }
  if (stack_.size() != 1 || !marks_.empty() || in_.left() != 0) {
    refuse("one value at the end", fmt::format("{} values, {} open, {} bytes left", stack_.size(),
                                               marks_.size(), in_.left()));
  }
  return pop();
}

void Machine::refuse(std::string_view expected, std::string_view found) const {
  fail(where_, expected, fmt::format("{} (pickle byte {})", found, in_.position()));
}

Slot Machine::expect(Slot slot, Kind kind, std::string_view what) const {
  if (slot.kind != kind) {
    refuse(fmt::format("{} that is {}", what, name_of(kind)), name_of(slot.kind));
  }
  return slot;
}

std::vector<Slot> Machine::pop_to_mark() {
  if (marks_.empty()) refuse("a mark on the stack", "none");
  const auto first = stack_.begin() + static_cast<std::ptrdiff_t>(marks_.back());
  std::vector<Slot> out(first, stack_.end());
  stack_.erase(first, stack_.end());
  marks_.pop_back();
  return out;
}

std::string_view Machine::class_of(Slot slot) const {
  if (slot.kind == Kind::opaque) return names_[index(slot)];
  return slot.kind == Kind::global ? global_name(slot.number) : name_of(slot.kind);
}

void Machine::push_bytes(size_t length) {
  push(add(Kind::bytes, bytes_, std::string(in_.text(length))));
}

void Machine::push_integer(size_t length) {
  const auto bytes = in_.take(length);
  if (bytes.size() > 8) return push(opaque("int of more than 64 bits"));
  const bool negative = !bytes.empty() && (bytes.back() & std::byte{0x80}) != std::byte{};
  uint64_t value = negative ? ~uint64_t{0} : 0;  // two's complement, sign-extended
  for (size_t i = bytes.size(); i-- > 0;) value = value << 8 | std::to_integer<uint64_t>(bytes[i]);
  push({Kind::integer, std::bit_cast<int64_t>(value)});
}

/// Opcodes that push one plain value, and those that frame the stream.
bool Machine::plain(uint8_t opcode) {
  switch (opcode) {
    case 0x80:  // PROTO
      if (const auto version = in_.little<uint8_t>(); version < 2 || version > 5) {
        refuse("pickle protocol 2 to 5", fmt::format("{}", version));
      }
      return true;
    case 0x95:  // FRAME
      if (in_.little<uint64_t>() > in_.left()) refuse("a frame inside the pickle", "a longer one");
      return true;
    case 'N':
      push({});
      return true;
    case 0x88:
      push({Kind::boolean, 1});
      return true;
    case 0x89:
      push({Kind::boolean, 0});
      return true;
    case 'J':
      push({Kind::integer, in_.little<int32_t>()});
      return true;
    case 'K':
      push({Kind::integer, in_.little<uint8_t>()});
      return true;
    case 'M':
      push({Kind::integer, in_.little<uint16_t>()});
      return true;
    case 'G':  // BINFLOAT, big endian
      push({Kind::real, std::bit_cast<int64_t>(__builtin_bswap64(in_.little<uint64_t>()))});
      return true;
    default:
      return false;
  }
}

/// Opcodes that push what says its own length.
bool Machine::binary(uint8_t opcode) {
  switch (opcode) {
    case 0x8a:  // LONG1
      push_integer(in_.little<uint8_t>());
      return true;
    case 0x8b:  // LONG4
      push_integer(in_.little<uint32_t>());
      return true;
    case 'X':
      push_text(in_.text(in_.little<uint32_t>()));
      return true;
    case 0x8c:
      push_text(in_.text(in_.little<uint8_t>()));
      return true;
    case 0x8d:  // BINUNICODE8
      push_text(in_.text(in_.little<uint64_t>()));
      return true;
    case 'B':
      push_bytes(in_.little<uint32_t>());
      return true;
    case 'C':
      push_bytes(in_.little<uint8_t>());
      return true;
    case 0x8e:  // BINBYTES8
    case 0x96:  // BYTEARRAY8
      push_bytes(in_.little<uint64_t>());
      return true;
    default:
      return false;
  }
}

bool Machine::container(uint8_t opcode) {
  switch (opcode) {
    case '(':
      marks_.push_back(stack_.size());
      return true;
    case '}':
      push(add(Kind::dict, dicts_, DictNode{false, {}}));
      return true;
    case ']':
      push(add(Kind::list, lists_, std::vector<Slot>()));
      return true;
    case ')':
      push_tuple({});
      return true;
    case 't':
      push_tuple(pop_to_mark());
      return true;
    case 0x85:
      pop_tuple(1);
      return true;
    case 0x86:
      pop_tuple(2);
      return true;
    case 0x87:
      pop_tuple(3);
      return true;
    case 0x8f:  // EMPTY_SET
      push(opaque("set"));
      return true;
    case 0x91:  // FROZENSET
      pop_to_mark();
      push(opaque("frozenset"));
      return true;
    default:
      return false;
  }
}

/// Opcodes that add to what is below them.
bool Machine::change(uint8_t opcode) {
  switch (opcode) {
    case 's': {  // SETITEM
      const Slot value = pop();
      const Slot key = pop();
      set_items({key, value});
      return true;
    }
    case 'u':
      set_items(pop_to_mark());
      return true;
    case 'a': {  // APPEND
      const Slot value = pop();
      append({&value, 1});
      return true;
    }
    case 'e':
      append(pop_to_mark());
      return true;
    case 0x90: {  // ADDITEMS, to a set
      pop_to_mark();
      expect(top(), Kind::opaque, "a target of a set's items");
      return true;
    }
    case 'b':
      build(pop());
      return true;
    default:
      return false;
  }
}

void Machine::set_items(std::vector<Slot> parts) {
  if (top().kind == Kind::opaque) return;
  DictNode& node = dicts_[index(expect(top(), Kind::dict, "a target of items"))];
  if (parts.size() % 2 != 0) refuse("keys with values", "a key without");
  for (size_t i = 0; i < parts.size(); i += 2) node.items.emplace_back(parts[i], parts[i + 1]);
}

void Machine::append(std::span<const Slot> parts) {
  if (top().kind == Kind::opaque) return;
  std::vector<Slot>& list = lists_[index(expect(top(), Kind::list, "a target of items"))];
  list.insert(list.end(), parts.begin(), parts.end());
}

/// An object's attributes: those of an OrderedDict (a state_dict's _metadata) say nothing, those of
/// an element type its byte order.
void Machine::build(Slot state) {
  const Slot target = top();
  if (target.kind == Kind::opaque) return;
  if (target.kind == Kind::dtype) {  // (version, order, …)
    const std::vector<Slot>& parts = items(expect(state, Kind::tuple, "an element type's state"));
    if (parts.size() < 2 || parts[1].kind != Kind::text) refuse("a byte order", "none");
    types_[index(target)].big = text(parts[1]) == ">";
    return;
  }
  expect(state, Kind::dict, "an object's state");
  if (!dict(expect(target, Kind::dict, "a target of attributes")).ordered) {
    refuse("attributes of an OrderedDict", "those of a dictionary");
  }
}

void Machine::put(uint32_t entry, Slot slot) {
  if (entry < memo_.size()) {
    memo_[entry] = slot;
  } else if (entry == memo_.size()) {
    memo_.push_back(slot);
    later_memo_.erase(entry);
  } else {
    later_memo_[entry] = slot;
  }
}

bool Machine::memo(uint8_t opcode) {
  const auto get = [this](uint32_t at) {
    if (at < memo_.size()) return push(memo_[at]);
    const auto found = later_memo_.find(at);
    if (found == later_memo_.end()) {
      refuse("a memo entry that was put", fmt::format("entry {}", at));
    }
    push(found->second);
  };
  switch (opcode) {
    case 'q':
      put(in_.little<uint8_t>(), top());
      return true;
    case 'r':
      put(in_.little<uint32_t>(), top());
      return true;
    case 0x94:
      put(static_cast<uint32_t>(memo_.size() + later_memo_.size()), top());
      return true;
    case 'h':
      get(in_.little<uint8_t>());
      return true;
    case 'j':
      get(in_.little<uint32_t>());
      return true;
    default:
      return false;
  }
}

bool Machine::call(uint8_t opcode) {
  switch (opcode) {
    case 'c': {  // GLOBAL
      const std::string_view module = in_.line();
      push_global(module, in_.line());
      return true;
    }
    case 0x93: {  // STACK_GLOBAL
      const Slot name = expect(pop(), Kind::text, "a class name");
      push_global(text(expect(pop(), Kind::text, "a module name")), text(name));
      return true;
    }
    case 'Q':
      push(persistent(pop()));
      return true;
    case 'R': {  // REDUCE
      const Slot arguments = expect(pop(), Kind::tuple, "the arguments of a call");
      push(reduce(pop(), arguments));
      return true;
    }
    case 0x92:  // NEWOBJ_EX: a class, arguments, named arguments
      expect(pop(), Kind::dict, "the named arguments of a call");
      [[fallthrough]];
    case 0x81: {  // NEWOBJ
      expect(pop(), Kind::tuple, "the arguments of a call");
      const Slot made = pop();
      if (made.kind != Kind::global && made.kind != Kind::opaque) {
        refuse("a class that an object is made of", name_of(made.kind));
      }
      push(opaque(class_of(made)));
      return true;
    }
    default:
      return false;
  }
}

}  // namespace scute::pickle
