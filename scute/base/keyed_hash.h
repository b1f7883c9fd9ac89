// Hashes for keys that a stranger's file chose.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>

namespace scute {

/// For a hash table whose keys come out of a file. Whoever knows a hash can write keys that all
/// fall into one bucket, so that a file of a few megabytes takes minutes; this one has a secret
/// that every process draws anew. It decides where a key lies and nothing else: a table that is
/// only looked up in, never walked through, answers the same in every run.
///
/// Both are universal families over the integers modulo 2^61 − 1 (Carter and Wegman, 1979): two
/// keys meet in a table of m buckets with a probability of about their length / 7 in m.
class KeyedHash {
 public:
  using is_transparent = void;

  KeyedHash() noexcept;

  size_t operator()(std::string_view key) const noexcept;
  size_t operator()(uint64_t key) const noexcept;
  size_t operator()(int32_t key) const noexcept { return (*this)(static_cast<uint64_t>(key)); }

 private:
  uint64_t factor_, offset_;
};

template <class Key, class Value>
using KeyedMap = std::unordered_map<Key, Value, KeyedHash, std::equal_to<>>;
template <class Key>
using KeyedSet = std::unordered_set<Key, KeyedHash, std::equal_to<>>;

}  // namespace scute
