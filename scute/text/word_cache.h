// The ids of words seen before.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "scute/base/keyed_hash.h"

namespace scute {

/// The ids of short words seen before, for one caller: natural text repeats most of its words.
/// Bounded: at most 65,536 words of at most 32 bytes, about 8 MB.
class WordCache {
 public:
  /// Appends the ids of `word` to `ids` if it is known.
  bool find(std::string_view word, std::vector<int32_t>& ids) const;
  /// Remembers ids[from…] for `word`, if there is room.
  void add(std::string_view word, const std::vector<int32_t>& ids, size_t from);

 private:
  struct Span {
    uint32_t begin, count;
  };
  KeyedMap<std::string, Span> spans_;
  std::vector<int32_t> ids_;
};

}  // namespace scute
