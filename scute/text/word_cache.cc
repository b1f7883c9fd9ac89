#include "scute/text/word_cache.h"

namespace scute {
namespace {

constexpr size_t kCachedWords = 65536;
constexpr size_t kCachedBytes = 32;

}  // namespace

bool WordCache::find(std::string_view word, std::vector<int32_t>& ids) const {
  if (word.size() > kCachedBytes) return false;
  const auto found = spans_.find(word);
  if (found == spans_.end()) return false;
  const auto begin = ids_.begin() + found->second.begin;
  ids.insert(ids.end(), begin, begin + found->second.count);
  return true;
}

void WordCache::add(std::string_view word, const std::vector<int32_t>& ids, size_t from) {
  if (word.size() > kCachedBytes || spans_.size() >= kCachedWords) return;
  // At most one id a byte: 65,536 words of 32 bytes stay far below 2^32.
  const Span span{static_cast<uint32_t>(ids_.size()), static_cast<uint32_t>(ids.size() - from)};
  ids_.insert(ids_.end(), ids.begin() + static_cast<std::ptrdiff_t>(from), ids.end());
  spans_.emplace(word, span);
}

}  // namespace scute
