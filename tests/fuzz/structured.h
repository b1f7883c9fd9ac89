// Mutations that keep a file's structure, so that a fuzzer gets behind its header: lengths, offsets
// and checksums still fit, JSON is still JSON. What they make is mostly sound, by design not
// always.
#pragma once

#include <cstddef>
#include <cstdint>
#include <random>
#include <string>
#include <string_view>

namespace scute::fuzz {

/// Where a mutation takes its chances from: the same for the same seed.
class Draw {
 public:
  explicit Draw(unsigned int seed) : engine_(seed) {}

  /// 0 … count − 1; 0 when count is 0.
  size_t below(size_t count) { return count == 0 ? 0 : engine_() % count; }
  bool one_in(size_t count) { return below(count) == 0; }
  template <class List>
  const auto& of(const List& list) {
    return list[below(std::size(list))];
  }

 private:
  std::minstd_rand engine_;
};

/// A file's bytes to those of another one of about `most` bytes at most.
using Mutation = std::string (*)(std::string_view file, Draw& draw, size_t most);

/// As libFuzzer mutates bytes; it knows what the program has compared them with.
std::string mutated_bytes(std::string_view bytes, Draw& draw, size_t most);
/// The same of as many bytes as before.
std::string mutated_in_place(std::string_view bytes, Draw& draw);

/// One value of a JSON text replaced, moved, copied, wrapped or changed a little; in a string that
/// is JSON itself, one of that.
std::string mutated_json(std::string_view text, Draw& draw, size_t most);
/// A line mutated as JSON, or lines left out, repeated, exchanged and torn.
std::string mutated_json_lines(std::string_view text, Draw& draw, size_t most);
/// Types, dimensions, names and contents of tensors, with data and offsets to match, and metadata.
std::string mutated_safetensors(std::string_view file, Draw& draw, size_t most);
/// Opcodes left out, copied, added and with other arguments; texts with lengths to match.
std::string mutated_pickle(std::string_view file, Draw& draw, size_t most);
/// Entries renamed, left out, repeated, packed, or mutated as their names say what they are (.pkl,
/// .json, .jsonl, .safetensors); checksums, sizes and directory match.
std::string mutated_zip(std::string_view file, Draw& draw, size_t most);

}  // namespace scute::fuzz
