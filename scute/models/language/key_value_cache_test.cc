#include "scute/models/language/key_value_cache.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <utility>

#include "scute/base/random.h"

namespace scute::key_value_cache_test {
namespace {

Tensor normal_rows(int64_t rows, int64_t cols) {
  Tensor out(DType::f32, {rows, cols});
  Random random(99);
  for (float& x : out.mutable_values<float>()) x = static_cast<float>(random.normal());
  return out;
}

TEST(KeyValueCache, GrowsInWholeTilesByDoublingAndKeepsItsRowsWhenMoved) {
  scute::Run run;
  const Tensor rows = normal_rows(1, 2 * 40);
  const auto row = rows.matrix<float>();
  for (const auto& [form, element] :
       {std::pair{CacheForm::f32, 4}, {CacheForm::bf16, 2}, {CacheForm::int8, 1}}) {
    KeyValueCache cache(2, 40, form, 3, 10);
    EXPECT_EQ(cache.bytes(), 3 * 10 * 4);
    const auto expected = [&, each = element, scales = form == CacheForm::int8 ? 8 : 0](int64_t n) {
      // Values of 40 columns take two panels of 32.
      return 2 * n * ((40 + 64) * each + scales) + 3 * 10 * 4;
    };
    for (int64_t t = 0; t < 1100; ++t) {
      cache.append(run, row, row);
      const int64_t room = t < 256 ? 256 : t < 512 ? 512 : t < 1024 ? 1024 : 2048;
      ASSERT_EQ(cache.bytes(), expected(room)) << t;
    }
    const auto* before = static_cast<const std::byte*>(cache.heads()[1].keys);
    const KeyValueCache moved = std::move(cache);
    EXPECT_EQ(moved.heads()[1].keys, before);
    EXPECT_EQ(moved.length(), 1100);
    // The first token's key, written before three growths, is that of the last.
    for (int64_t i = 0; i < 40 * element; ++i) {
      const int64_t from = i / element * 32 * element + i % element;
      ASSERT_EQ(before[from], before[from + (1088 * 40 + 11) * element]) << i;
    }
  }
  KeyValueCache cache(1, 8);
  const Tensor many = normal_rows(700, 8);
  cache.append(run, many.matrix<float>(), many.matrix<float>());
  EXPECT_EQ(cache.bytes(), 768 * (8 + 32) * 4);
}

TEST(KeyValueCache, ACopyHasItsOwnMemoryAndBothGoOn) {
  scute::Run run;
  const Tensor rows = normal_rows(300, 2 * 40), other = normal_rows(1, 2 * 40);
  for (const CacheForm form : {CacheForm::f32, CacheForm::bf16, CacheForm::int8}) {
    KeyValueCache cache(2, 40, form, 3, 10);
    EXPECT_EQ(cache.copy().length(), 0);
    cache.append(run, rows.matrix<float>(), rows.matrix<float>());
    cache.conv().row(0)[0] = 5;
    KeyValueCache copy = cache.copy();
    EXPECT_EQ(copy.length(), 300);
    EXPECT_EQ(copy.bytes(), cache.bytes());
    EXPECT_EQ(copy.conv().row(0)[0], 5);
    copy.conv().row(0)[0] = 6;
    EXPECT_EQ(cache.conv().row(0)[0], 5);
    for (size_t h = 0; h < 2; ++h) {
      const auto* mine = static_cast<const std::byte*>(cache.heads()[h].keys);
      const auto* theirs = static_cast<const std::byte*>(copy.heads()[h].keys);
      EXPECT_NE(mine, theirs);
      EXPECT_TRUE(std::equal(mine, mine + 256 * 40, theirs));
    }
    copy.append(run, other.matrix<float>(), other.matrix<float>());
    EXPECT_EQ(cache.length(), 300);
    EXPECT_EQ(copy.length(), 301);
  }
}

}  // namespace
}  // namespace scute::key_value_cache_test
