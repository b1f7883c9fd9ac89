#include "scute/text/vocabulary.h"

#include <fmt/format.h>

#include <algorithm>

#include "scute/text/byte_alphabet.h"

namespace scute {

void Vocabulary::reserve(size_t entries) {
  ids_.reserve(entries);
  bytes_.reserve(entries);
  tokens_.reserve(entries);
}

bool Vocabulary::add(const std::string& token, int32_t id) {
  if (!bytes_.emplace(id, bytes_of_token(token).value_or(token)).second) return false;
  const auto entry = ids_.insert_or_assign(token, id).first;
  tokens_.emplace(id, &entry->first);
  size_ = std::max(size_, int64_t{id} + 1);
  return true;
}

std::array<int32_t, 256> Vocabulary::fallback_ids() const {
  std::array<int32_t, 256> out{};
  for (size_t byte = 0; byte < out.size(); ++byte) {
    out[byte] = id_of(fmt::format("<0x{:02X}>", byte)).value_or(-1);
  }
  return out;
}

std::optional<int32_t> Vocabulary::id_of(const std::string& token) const {
  const auto found = ids_.find(token);
  if (found == ids_.end()) return std::nullopt;
  return found->second;
}

const std::string* Vocabulary::bytes_of(int32_t id) const {
  const auto found = bytes_.find(id);
  return found == bytes_.end() ? nullptr : &found->second;
}

const std::string* Vocabulary::token_of(int32_t id) const {
  const auto found = tokens_.find(id);
  return found == tokens_.end() ? nullptr : found->second;
}

}  // namespace scute
