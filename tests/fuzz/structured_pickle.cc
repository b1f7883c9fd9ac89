// Pickles as lists of opcodes with their arguments.
#include <algorithm>
#include <cstring>
#include <optional>
#include <string_view>
#include <vector>

#include "tests/fuzz/structured.h"

namespace scute::fuzz {
namespace {

/// What follows an opcode: so many bytes, a length of so many bytes and what it counts, or two
/// lines.
struct Form {
  size_t bytes = 0;
  size_t length = 0;
  bool lines = false;
};

Form form_of(char opcode) {
  switch (static_cast<unsigned char>(opcode)) {
    case 0x80:  // PROTO
    case 'K':
    case 'q':
    case 'h':
      return {.bytes = 1};
    case 'M':
      return {.bytes = 2};
    case 'J':
    case 'r':
    case 'j':
      return {.bytes = 4};
    case 'G':
    case 0x95:  // FRAME
      return {.bytes = 8};
    case 0x8a:  // LONG1
    case 0x8c:  // SHORT_BINUNICODE
    case 'C':
      return {.length = 1};
    case 0x8b:  // LONG4
    case 'X':
    case 'B':
      return {.length = 4};
    case 0x8d:  // BINUNICODE8
    case 0x8e:  // BINBYTES8
    case 0x96:  // BYTEARRAY8
      return {.length = 8};
    case 'c':
      return {.lines = true};
    default:
      return {};
  }
}

/// Opcode and argument; the length of a counted one is written anew.
struct Op {
  char code;
  std::string argument;

  std::string bytes() const {
    std::string out(1, code);
    const uint64_t length = argument.size();
    char counted[sizeof length];
    std::memcpy(counted, &length, sizeof length);
    return out.append(counted, form_of(code).length) + argument;
  }
};

std::vector<Op> ops_of(std::string_view pickle) {
  std::vector<Op> out;
  size_t at = 0;
  const auto take = [&](size_t count) {
    const std::string_view part = pickle.substr(at, count);
    at += part.size();
    return std::string(part);
  };
  while (at < pickle.size()) {
    Op op{pickle[at++], {}};
    const Form form = form_of(op.code);
    if (form.lines) {
      for (int line = 0; line < 2; ++line) {
        op.argument += take(std::min(pickle.find('\n', at), pickle.size() - 1) + 1 - at);
      }
    } else if (form.length > 0) {
      uint64_t length = 0;
      const std::string counted = take(form.length);
      std::memcpy(&length, counted.data(), counted.size());
      op.argument = take(length);
    } else {
      op.argument = take(form.bytes);
    }
    out.push_back(std::move(op));
  }
  return out;
}

Op any_op(Draw& draw) {
  constexpr std::string_view kCodes =
      "N\x88\x89JKMG\x8a\x8bX\x8c\x8d"
      "BC\x8e\x96(}])t\x85\x86\x87\x8f\x91sua"
      "e\x90"
      "bqr\x94hj"
      "c\x93QR\x92\x81";
  constexpr std::string_view kGlobals[] = {"collections\nOrderedDict\n",
                                           "torch._utils\n_rebuild_tensor_v2\n",
                                           "torch._utils\n_rebuild_parameter\n",
                                           "torch\nFloatStorage\n",
                                           "torch\nBoolStorage\n",
                                           "numpy\ndtype\n",
                                           "numpy.core.multiarray\nscalar\n",
                                           "_codecs\nencode\n",
                                           "a\nb\n"};
  Op out{draw.of(kCodes), {}};
  const Form form = form_of(out.code);
  if (form.lines) {
    out.argument = draw.of(kGlobals);
  } else {
    out.argument.assign(form.length > 0 ? draw.below(5) : form.bytes, '\0');
    for (char& c : out.argument) c = static_cast<char>(draw.one_in(2) ? 0 : draw.below(256));
  }
  return out;
}

void mutate_argument(Op& op, Draw& draw) {
  const Form form = form_of(op.code);
  if (form.length > 0) {
    op.argument = mutated_bytes(op.argument, draw, op.argument.size() + 8);
  } else if (form.lines || form.bytes > 0) {
    op.argument = mutated_in_place(op.argument, draw);
  }
}

}  // namespace

std::string mutated_pickle(std::string_view file, Draw& draw, size_t most) {
  std::vector<Op> ops = ops_of(file);
  if (ops.empty()) return mutated_bytes(file, draw, most);
  for (size_t times = 1 + draw.below(3); times > 0; --times) {
    const size_t at = draw.below(ops.size()), other = draw.below(ops.size());
    const auto place = ops.begin() + static_cast<std::ptrdiff_t>(at);
    switch (draw.below(6)) {
      case 0:
        if (ops.size() > 1) ops.erase(place);
        break;
      case 1:
        ops.insert(place, any_op(draw));
        break;
      case 2: {  // a run of opcodes is a value, or most of one
        const size_t count = std::min(1 + draw.below(12), ops.size() - other);
        const auto from = ops.begin() + static_cast<std::ptrdiff_t>(other);
        const std::vector<Op> run(from, from + static_cast<std::ptrdiff_t>(count));
        ops.insert(place, run.begin(), run.end());
        break;
      }
      case 3:
        std::swap(ops[at], ops[other]);
        break;
      case 4:
        ops[at] = any_op(draw);
        break;
      default:
        mutate_argument(ops[at], draw);
    }
  }
  std::string out;
  for (const Op& op : ops) out += op.bytes();
  return out;
}

}  // namespace scute::fuzz
