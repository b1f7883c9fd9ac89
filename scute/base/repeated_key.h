// Keys that an object or a dictionary of a file has twice.
#pragma once

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

namespace scute {

/// A key that several of the members have, the least in byte order; null when there is none. n·log
/// n comparisons whatever the keys are, where a hash table takes n² for keys made for it.
template <class Value>
const std::string* repeated_key(const std::vector<std::pair<std::string, Value>>& members) {
  if (members.size() < 2) return nullptr;
  std::vector<const std::string*> keys;
  keys.reserve(members.size());
  for (const auto& [key, value] : members) keys.push_back(&key);
  const auto text = [](const std::string* key) -> const std::string& { return *key; };
  std::ranges::sort(keys, {}, text);
  const auto twice = std::ranges::adjacent_find(keys, {}, text);
  return twice == keys.end() ? nullptr : *twice;
}

}  // namespace scute
