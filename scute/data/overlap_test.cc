#include "scute/data/overlap.h"

#include <gtest/gtest.h>

#include <numeric>

#include "scute/base/error.h"
#include "scute/base/random.h"

namespace scute::overlap_test {
namespace {

using Ids = std::vector<int32_t>;

Ids random_ids(int64_t n, uint64_t seed) {
  Random random(seed);
  Ids out(static_cast<size_t>(n));
  for (int32_t& id : out) id = static_cast<int32_t>(random.below(50000));
  return out;
}

Ids joined(Ids a, const Ids& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

TEST(Overlap, CountsEachUnitInsideASharedWindowOnce) {
  WindowHashes seen(64);
  const Ids common = random_ids(100, 1);
  seen.add(joined(random_ids(333, 2), joined(common, random_ids(50, 3))));
  // At another place, in other surroundings, and twice.
  const Ids scored = joined(joined(random_ids(77, 4), common), joined(random_ids(5, 5), common));
  const Overlap found = seen.find(scored);
  EXPECT_EQ(found.units, 282);
  EXPECT_EQ(found.shared, 200);
  EXPECT_EQ(found.length, 64);
}

TEST(Overlap, AShorterRunInCommonIsNone) {
  WindowHashes seen(64);
  const Ids common = random_ids(63, 1);
  seen.add(joined(common, random_ids(400, 2)));
  EXPECT_EQ(seen.find(joined(random_ids(400, 3), common)).shared, 0);
  // In another order they are other windows.
  Ids ascending(200), descending(200);
  std::iota(ascending.begin(), ascending.end(), 0);
  std::iota(descending.rbegin(), descending.rend(), 0);
  seen.add(ascending);
  EXPECT_EQ(seen.find(descending).shared, 0);
  EXPECT_EQ(seen.find(ascending).shared, 200);
}

TEST(Overlap, SequencesThatAreShorterCountAsAWhole) {
  WindowHashes seen(64);
  EXPECT_TRUE(seen.empty());
  const Ids brief = random_ids(20, 1);
  seen.add(brief);
  seen.add(Ids{});
  EXPECT_EQ(seen.find(brief).shared, 20);
  EXPECT_EQ(seen.find(joined(brief, {7})).shared, 0);
  EXPECT_EQ(seen.find(Ids{}).units, 0);
}

TEST(Overlap, UnitsMayBeAnything) {
  WindowHashes seen(1);
  seen.add(std::vector<uint64_t>{unit_of("one picture"), unit_of("another")});
  const std::vector<uint64_t> scored{unit_of("a third"), unit_of("another")};
  Overlap found = seen.find(scored);
  EXPECT_EQ(found.shared, 1);
  found.add(seen.find(scored));
  EXPECT_EQ(found.share(), 0.5);
  EXPECT_THROW(WindowHashes(0), Error);
}

}  // namespace
}  // namespace scute::overlap_test
