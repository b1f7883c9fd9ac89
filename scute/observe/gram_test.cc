#include "scute/observe/gram.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "scute/base/error.h"
#include "scute/base/random.h"

namespace scute::gram_test {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::ThrowsMessage;

Site site(const char* name, int64_t columns) { return {.name = name, .shape = {columns}}; }

std::vector<float> random_values(size_t count, uint64_t seed) {
  std::vector<float> out(count);
  Random random(seed);
  for (float& x : out) x = static_cast<float>(random.normal());
  return out;
}

TEST(Gram, SumsProductsOfColumnsOverAllTokens) {
  const Site two = site("a", 2);
  GramObserver observer({two});
  const std::vector<float> first{1, 2, 3, -4}, second{0.5f, 8};
  observer.see(two, {first.data(), 2, 2});
  observer.see(two, {second.data(), 1, 2});
  const auto sums = observer.finish();
  const Gram& gram = sums.at("a");
  EXPECT_EQ(gram.tokens, 3);
  // 1 + 9 + 0.25, 2 − 12 + 4, and 4 + 16 + 64.
  EXPECT_THAT(gram.values, ElementsAre(10.25, -6, 84));
  EXPECT_THAT(gram.square(), ElementsAre(10.25, -6, -6, 84));
}

TEST(Gram, WantsItsSitesAlone) {
  const GramObserver observer(std::vector<Site>{site("a", 2), site("b", 3)});
  EXPECT_TRUE(observer.wants(site("b", 3)));
  EXPECT_FALSE(observer.wants(site("c", 3)));
}

TEST(Gram, ReadsViewsWhoseRowsLieApart) {
  const Site two = site("a", 2);
  GramObserver observer({two});
  const std::vector<float> wide{1, 2, 99, 3, -4, 99};
  observer.see(two, {wide.data(), 2, 2, 3});
  EXPECT_THAT(observer.finish().at("a").values, ElementsAre(10, -10, 20));
}

TEST(Gram, AddsTheSumsOfAnotherObserver) {
  const Site wide = site("a", 37);
  const auto first = random_values(37 * 50, 1), second = random_values(37 * 20, 2);
  GramObserver both({wide}), one({wide}), other({wide});
  both.see(wide, {first.data(), 50, 37});
  both.see(wide, {second.data(), 20, 37});
  one.see(wide, {first.data(), 50, 37});
  other.see(wide, {second.data(), 20, 37});
  one.add(other);
  const Gram expected = both.finish().at("a"), found = one.finish().at("a");
  EXPECT_EQ(found.tokens, 70);
  for (size_t i = 0; i < found.values.size(); ++i) {
    // Each sum is of the same terms, in doubles but for tiles in f32: of 70 terms of a few each.
    EXPECT_NEAR(found.values[i], expected.values[i], 70 * 10 * 0x1p-24);
  }
}

TEST(Gram, ClearedItIsAsNew) {
  const Site wide = site("a", 37);
  const auto values = random_values(37 * 20, 1);
  GramObserver fresh({wide}), used({wide});
  used.see(wide, {values.data() + 37, 19, 37});
  used.clear();
  for (GramObserver* observer : {&fresh, &used}) observer->see(wide, {values.data(), 20, 37});
  const Gram expected = fresh.finish().at("a"), found = used.finish().at("a");
  EXPECT_EQ(found.values, expected.values);
  EXPECT_EQ(found.tokens, 20);
}

TEST(Gram, IsSymmetricWithTheSquaresOnItsDiagonal) {
  const Site wide = site("a", 65);
  const auto values = random_values(65 * 30, 3);
  GramObserver observer({wide});
  observer.see(wide, {values.data(), 30, 65});
  const Gram gram = observer.finish().at("a");
  const Gram::Values square = gram.square();
  const MatView<const double> all(square.data(), 65, 65);
  for (int64_t i = 0; i < 65; ++i) {
    double squares = 0;
    for (size_t t = 0; t < 30; ++t) {
      const auto x = static_cast<double>(values[t * 65 + static_cast<size_t>(i)]);
      squares += x * x;
    }
    EXPECT_NEAR(all.row(i)[i], squares, 30 * 0x1p-24 * squares);
    for (int64_t j = 0; j < i; ++j) {
      EXPECT_EQ(all.row(i)[j], all.row(j)[i]);
      EXPECT_EQ(all.row(j)[i], gram.triangle().row(j)[i]);
    }
  }
}

TEST(Gram, RefusesAnotherWidth) {
  const Site two = site("a", 2);
  GramObserver observer({two});
  const std::vector<float> three{1, 2, 3};
  EXPECT_THAT(
      [&] {
        observer.see(two, {three.data(), 1, 3});
      },
      ThrowsMessage<Error>(HasSubstr("a: expected 2 columns, found 3")));
}

}  // namespace
}  // namespace scute::gram_test
