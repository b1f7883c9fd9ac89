#include "scute/base/keyed_hash.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <string>

namespace scute::keyed_hash_test {
namespace {

TEST(KeyedHash, IsTheSameForEqualKeys) {
  const KeyedHash first, second;
  for (const std::string key : {"", "a", "ab", "seven b", "eight by", "fifteen bytes!!", "a\0b"}) {
    EXPECT_EQ(first(key), second(std::string_view(key)));
  }
  EXPECT_EQ(first(int32_t{7}), second(uint64_t{7}));
}

/// Keys in the fullest of so many buckets.
template <class Keys>
size_t fullest(const Keys& keys, size_t buckets) {
  const KeyedHash hash;
  std::map<size_t, size_t> found;
  for (const auto& key : keys) ++found[hash(key) % buckets];
  return std::ranges::max_element(found, {}, [](const auto& item) { return item.second; })->second;
}

// As many keys as buckets: the fullest has seven or eight of them, and a thousand times as many
// where a hash is known.
TEST(KeyedHash, SpreadsKeysThatAreMultiplesOfTheBuckets) {
  constexpr size_t kBuckets = 10'007, kMost = 40;
  std::vector<uint64_t> numbers;
  std::vector<std::string> texts;
  for (uint64_t i = 0; i < kBuckets; ++i) {
    numbers.push_back(i * kBuckets);
    texts.push_back("layers." + std::to_string(i) + std::string(i % 9, 'x'));
  }
  EXPECT_LT(fullest(numbers, kBuckets), kMost);
  EXPECT_LT(fullest(texts, kBuckets), kMost);
}

TEST(KeyedHash, TellsTextsApartThatDifferInZerosAtTheirEnd) {
  using namespace std::string_literals;
  const KeyedHash hash;
  EXPECT_NE(hash("a"s), hash("a\0"s));
  EXPECT_NE(hash(""s), hash("\0"s));
  EXPECT_NE(hash("sevenby"s), hash("sevenby\0"s));
}

TEST(KeyedMap, FindsByView) {
  KeyedMap<std::string, int> map;
  map["one"] = 1;
  EXPECT_EQ(map.find(std::string_view("one"))->second, 1);
  EXPECT_EQ(map.find(std::string_view("two")), map.end());
}

}  // namespace
}  // namespace scute::keyed_hash_test
