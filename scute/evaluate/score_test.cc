#include "scute/evaluate/score.h"

#include <gtest/gtest.h>

#include <cmath>

#include "scute/base/random.h"
#include "scute/evaluate/metrics.h"

namespace scute::score_test {
namespace {

std::vector<ScoredItem> items_of(const std::vector<double>& values) {
  std::vector<ScoredItem> out;
  for (const double value : values) out.push_back({std::to_string(out.size()), value});
  return out;
}

TEST(Score, MeansFollowFromWeightsAndForm) {
  const std::vector<ScoredItem> items{{"a", 2, 1}, {"b", 6, 3}};
  EXPECT_EQ(mean_of(MetricForm::ratio, items), 2);
  EXPECT_EQ(mean_of(MetricForm::perplexity, items), std::exp(2.0));
  const MetricScore one = score_of_items(position_error(), items_of({0.5}), {});
  EXPECT_EQ(one.mean, 0.5);
  EXPECT_TRUE(std::isnan(one.standard_error));  // one item says nothing of the spread
  const MetricScore two = score_of_items(position_error(), items_of({1, 3}), {});
  EXPECT_EQ(two.standard_error, 1);  // √2/√2
}

TEST(Score, ItemsAreTheSameByNameAndWeight) {
  const std::vector<ScoredItem> items{{"a", 2, 1}, {"b", 6, 3}};
  auto others = items;
  others[1].value = 7;
  EXPECT_TRUE(same_items(items, others));
  others[1].weight = 2;
  EXPECT_FALSE(same_items(items, others));
  others = items;
  others[0].name = "c";
  EXPECT_FALSE(same_items(items, others));
  others.pop_back();
  EXPECT_FALSE(same_items(items, others));
}

TEST(PairedEffect, OfARatioByTheDeltaMethodIsTheSpreadOfManySamples) {
  // The standard error that is stated against the one that is seen in 2,000 repetitions, whose own
  // relative error is 1/√4000 = 1.6 %; four of them.
  constexpr int kRepeats = 2000, kItems = 50;
  double sum = 0, squares = 0, stated = 0;
  for (uint64_t seed = 1; seed <= kRepeats; ++seed) {
    Random random(seed);
    std::vector<double> a, b;
    for (int i = 0; i < kItems; ++i) {
      a.push_back(1 + random.uniform());
      b.push_back(1.2 * a.back() + 0.1 * random.normal());
    }
    const PairedEffect effect = compare_items(MetricForm::ratio, true, items_of(a), items_of(b));
    sum += effect.size;
    squares += effect.size * effect.size;
    stated += effect.standard_error;
  }
  const double mean = sum / kRepeats;
  const double seen = std::sqrt(squares / kRepeats - mean * mean);
  EXPECT_NEAR(mean, std::log(1.2), 0.001);
  EXPECT_NEAR(stated / kRepeats / seen, 1, 0.065);
}

TEST(PairedEffect, OfMeansIsTheMeanOfDifferences) {
  const auto a = items_of({0, 1, 2}), b = items_of({1, 2, 6});
  const PairedEffect effect = compare_items(MetricForm::mean, false, a, b);
  EXPECT_EQ(effect.size, 2);
  EXPECT_EQ(effect.standard_error, 1);  // 1 1 4: √3/√3
  EXPECT_FALSE(effect.same);
  EXPECT_TRUE(compare_items(MetricForm::mean, false, a, a).same);
}

TEST(Score, WhereAllOrNoneWereHitAOneSidedBoundStandsInPlaceOfTheError) {
  for (const double hit : {0.0, 1.0}) {
    MetricScore score =
        score_of_items(last_word_accuracy(), items_of(std::vector<double>(60, hit)), {});
    EXPECT_EQ(score.mean, hit);
    EXPECT_TRUE(std::isnan(score.standard_error));
    ASSERT_TRUE(share_bound(score).has_value());
    EXPECT_NEAR(*share_bound(score), hit == 0 ? 0.05 : 0.95, 1e-12);  // 3/60
    score.standard_error = 0;                                         // as it was recorded once
    forget_false_error(score);
    EXPECT_TRUE(std::isnan(score.standard_error));
  }
  EXPECT_FALSE(share_bound(0, 1).has_value());
  EXPECT_EQ(share_bound(1, 2), 0);
  EXPECT_EQ(share_bound(0, 4), 0.75);
  EXPECT_FALSE(share_bound(0.5, 100).has_value());
  const MetricScore half = score_of_items(last_word_accuracy(), items_of({1, 0, 1, 0}), {});
  EXPECT_NEAR(half.standard_error, std::sqrt(0.25 / 3), 1e-12);
  const MetricScore far = score_of_items(position_error(), items_of({0, 0}), {});
  EXPECT_FALSE(share_bound(far).has_value());  // no share
}

TEST(PairedEffect, WhereAllDifferByTheSameThereIsNoErrorAndSignsDecide) {
  // Six times one better: 2/2⁶ under McNemar and the sign test alike.
  const std::vector<double> none(6, 0), all(6, 1);
  const PairedEffect shares =
      compare_items(MetricForm::share, false, items_of(none), items_of(all));
  EXPECT_EQ(shares.size, 1);
  EXPECT_TRUE(std::isnan(shares.standard_error));
  EXPECT_NEAR(shares.p, 1.0 / 32, 1e-12);
  const PairedEffect means = compare_items(MetricForm::mean, false, items_of(none), items_of(all));
  EXPECT_TRUE(std::isnan(means.standard_error));
  EXPECT_NEAR(means.p, 1.0 / 32, 1e-12);
  const PairedEffect doubled =
      compare_items(MetricForm::ratio, true, items_of({1, 2, 4}), items_of({2, 4, 8}));
  EXPECT_TRUE(std::isnan(doubled.standard_error));
  EXPECT_NEAR(doubled.p, 0.25, 1e-12);
  const PairedEffect same = compare_items(MetricForm::mean, false, items_of(all), items_of(all));
  EXPECT_TRUE(std::isnan(same.standard_error));
  EXPECT_EQ(same.p, 1);
  EXPECT_TRUE(same.same);
}

}  // namespace
}  // namespace scute::score_test
