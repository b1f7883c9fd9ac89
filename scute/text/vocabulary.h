// Which text is which id.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "scute/base/keyed_hash.h"

namespace scute {

class Vocabulary {
 public:
  Vocabulary() = default;
  Vocabulary(Vocabulary&&) = default;  // not copied: tokens_ points into ids_
  Vocabulary& operator=(Vocabulary&&) = default;

  void reserve(size_t entries);
  /// False, and nothing added, when another entry has the id. Of one text with two ids the later
  /// id is found.
  bool add(const std::string& token, int32_t id);

  std::optional<int32_t> id_of(const std::string& token) const;
  /// The ids of the tokens "<0x00>" … "<0xFF>" of byte_fallback; −1: none.
  std::array<int32_t, 256> fallback_ids() const;
  /// The bytes an id stands for, or null when no entry has it. An entry that is not written in the
  /// byte alphabet stands for itself.
  const std::string* bytes_of(int32_t id) const;
  /// An id's entry as it is written, or null.
  const std::string* token_of(int32_t id) const;
  /// Largest id + 1; 0 when empty.
  int64_t size() const { return size_; }

 private:
  KeyedMap<std::string, int32_t> ids_;
  KeyedMap<int32_t, std::string> bytes_;
  KeyedMap<int32_t, const std::string*> tokens_;  ///< into the keys of ids_
  int64_t size_ = 0;
};

}  // namespace scute
