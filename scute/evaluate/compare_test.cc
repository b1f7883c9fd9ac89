#include "scute/evaluate/compare.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "scute/base/error.h"

namespace scute::compare_test {
namespace {

/// Windows of 10 predictions with these sums of nll.
PerplexityResult scored(const std::vector<double>& nll) {
  PerplexityResult out;
  double sum = 0;
  for (size_t i = 0; i < nll.size(); ++i) {
    out.windows.push_back({static_cast<int64_t>(11 * i), 10, nll[i]});
    sum += nll[i];
  }
  out.predictions = static_cast<int64_t>(10 * nll.size());
  out.mean_nll = sum / static_cast<double>(out.predictions);
  out.perplexity = std::exp(out.mean_nll);
  return out;
}

TEST(ComparePerplexity, IsTheRatioWithAPairedError) {
  // Differences of the windows' means: 0.1, 0.3, 0.2: mean 0.2, deviation 0.1, error 0.1/√3. The
  // windows themselves differ by far more.
  const PerplexityRatio found = compare(scored({21, 53, 12}), scored({20, 50, 10}));
  EXPECT_NEAR(found.ratio, std::exp(0.2), 1e-12);
  EXPECT_NEAR(found.standard_error, std::exp(0.2) * 0.1 / std::sqrt(3.0), 1e-12);
}

TEST(ComparePerplexity, OfAModelWithItselfIsOneAndKnowsNoError) {
  const PerplexityRatio found = compare(scored({21, 53, 12}), scored({21, 53, 12}));
  EXPECT_EQ(found.ratio, 1);
  EXPECT_TRUE(std::isnan(found.standard_error));
  EXPECT_TRUE(std::isnan(compare(scored({21}), scored({20})).standard_error));  // one window
}

TEST(ComparePerplexity, RefusesOtherWindows) {
  PerplexityResult shifted = scored({20, 50}), shorter = scored({20, 50});
  shifted.windows[1].start = 12;
  shorter.windows[0].predictions = 9;
  const PerplexityResult reference = scored({20, 50});
  EXPECT_THROW(compare(shifted, reference), Error);
  EXPECT_THROW(compare(shorter, reference), Error);
  EXPECT_THROW(compare(scored({20}), reference), Error);
}

LastWordResult hits(const std::vector<bool>& which) {
  LastWordResult out;
  for (const bool hit : which) out.items.push_back({.hit = hit, .nll = 1});
  return out;
}

TEST(CompareHits, CountsPairsAndGivesMcNemarsExactP) {
  // Gained at 0, lost at 1 to 4: of 5 coins at most one shows the rarer side, both ways:
  // 2·(1 + 5)/32.
  const HitComparison found = compare(hits({true, false, false, false, false, true, false, true}),
                                      hits({false, true, true, true, true, true, false, true}));
  EXPECT_EQ(found.gained, 1);
  EXPECT_EQ(found.lost, 4);
  EXPECT_NEAR(found.difference, -3.0 / 8, 1e-12);
  EXPECT_NEAR(found.p, 12.0 / 32, 1e-12);
  // Differences: one +1, four −1, three 0; mean −3/8; squares 5 − 8·(3/8)²; error √(s/7/8).
  EXPECT_NEAR(found.standard_error, std::sqrt((5 - 9.0 / 8) / 7 / 8), 1e-12);
}

TEST(CompareHits, AnEvenSplitOrNoneIsNoEvidence) {
  EXPECT_EQ(compare(hits({true, false}), hits({false, true})).p, 1);
  EXPECT_EQ(compare(hits({true, false}), hits({true, false})).p, 1);
}

TEST(CompareHits, StaysExactForManyItems) {
  // 1000 lost, none gained: 2·0.5^1000, far below what a product of binomials could hold.
  const std::vector<bool> all(1000, true), none(1000, false);
  const double p = compare(hits(none), hits(all)).p;
  EXPECT_NEAR(std::log(p), std::log(2.0) - 1000 * std::log(2.0), 1e-9);
}

TEST(CompareHits, RefusesOtherNumbersOfItems) {
  EXPECT_THROW(compare(hits({true}), hits({true, false})), Error);
  EXPECT_THROW(compare(hits({}), hits({})), Error);
}

}  // namespace
}  // namespace scute::compare_test
