#include "scute/models/language/routing.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "scute/base/random.h"

namespace scute::routing_test {
namespace {

struct Routed {
  std::vector<int32_t> experts;
  std::vector<float> weights;
};

Routed routed(const ExpertsConfig& config, std::vector<float> scores,
              const std::vector<float>& correction = {}) {
  const auto rows = static_cast<int64_t>(scores.size()) / config.count;
  const auto size = static_cast<size_t>(rows * config.chosen);
  Routed out{std::vector<int32_t>(size), std::vector<float>(size)};
  route(config, {scores.data(), rows, config.count},
        correction.empty() ? nullptr : correction.data(), {out.experts.data(), rows, config.chosen},
        {out.weights.data(), rows, config.chosen});
  return out;
}

ExpertsConfig of(int64_t count, int64_t chosen, ExpertsConfig::Routing routing) {
  ExpertsConfig out;
  out.count = count;
  out.chosen = chosen;
  out.inner = 1;
  out.routing = routing;
  return out;
}

using Routing = ExpertsConfig::Routing;

TEST(Route, SoftmaxOfTheChosenAlone) {
  const auto got = routed(of(4, 2, Routing::softmax_of_chosen), {0, 2, 1, 2.5F});
  EXPECT_EQ(got.experts, (std::vector<int32_t>{1, 3}));
  const double e = std::exp(0.5);
  EXPECT_NEAR(got.weights[0], 1 / (1 + e), 1e-7);
  EXPECT_NEAR(got.weights[1], e / (1 + e), 1e-7);
}

TEST(Route, SoftmaxOverAllIsNotNormalizedAgain) {
  const auto got = routed(of(4, 2, Routing::softmax), {0, 2, 1, 2.5F});
  EXPECT_EQ(got.experts, (std::vector<int32_t>{1, 3}));
  const double sum = 1 + std::exp(2.0) + std::exp(1.0) + std::exp(2.5);
  EXPECT_NEAR(got.weights[0], std::exp(2.0) / sum, 1e-7);
  EXPECT_NEAR(got.weights[1], std::exp(2.5) / sum, 1e-7);
}

TEST(Route, TheCorrectionChoosesAndDoesNotWeigh) {
  ExpertsConfig config = of(4, 2, Routing::sigmoid);
  config.scaling = 2.5F;
  const auto got = routed(config, {0, 2, 1, 2.5F}, {0.9F, 0, 0, 0});
  EXPECT_EQ(got.experts, (std::vector<int32_t>{0, 3}));
  const double a = 0.5, b = 1 / (1 + std::exp(-2.5));
  EXPECT_NEAR(got.weights[0], 2.5 * a / (a + b), 3e-7);
  EXPECT_NEAR(got.weights[1], 2.5 * b / (a + b), 3e-7);
  config.normalized = false;
  EXPECT_NEAR(routed(config, {0, 2, 1, 2.5F}).weights[1], 2.5 * b, 3e-7);
}

TEST(Route, GroupsAreMarkedByTheirTwoBest) {
  // The largest score stands in a group whose two best sum to less than those of the second group.
  ExpertsConfig config = of(6, 2, Routing::sigmoid);
  config.groups = 2;
  config.kept = 1;
  const auto got = routed(config, {3, -5, -5, 2, 1, -5});
  EXPECT_EQ(got.experts, (std::vector<int32_t>{3, 4}));
}

TEST(Route, OfEqualOnesTheFirst) {
  for (const Routing routing : {Routing::softmax_of_chosen, Routing::softmax, Routing::sigmoid}) {
    EXPECT_EQ(routed(of(5, 3, routing), std::vector<float>(5, 0.25F)).experts,
              (std::vector<int32_t>{0, 1, 2}));
  }
}

TEST(Route, AsManyExpertsAsAConfigMayHave) {
  std::vector<float> scores(kMostExperts, -1.0F);
  scores.back() = 3;
  scores[7] = 2;
  EXPECT_EQ(routed(of(kMostExperts, 2, Routing::sigmoid), scores).experts,
            (std::vector<int32_t>{7, kMostExperts - 1}));
}

TEST(Route, ATokenDoesNotDependOnTheOthers) {
  const ExpertsConfig config = of(8, 3, Routing::softmax);
  Random random(7);
  std::vector<float> scores(8 * 5);
  for (float& x : scores) x = static_cast<float>(random.normal());
  const auto all = routed(config, scores);
  for (size_t t = 0; t < 5; ++t) {
    const auto begin = scores.begin() + static_cast<int64_t>(8 * t);
    const auto one = routed(config, {begin, begin + 8});
    EXPECT_TRUE(std::ranges::equal(one.experts, std::span(all.experts).subspan(3 * t, 3)));
    EXPECT_TRUE(std::ranges::equal(one.weights, std::span(all.weights).subspan(3 * t, 3)));
  }
}

TEST(Route, NotANumberStaysOneAndNamesExpertsThatExist) {
  for (const Routing routing : {Routing::softmax_of_chosen, Routing::softmax, Routing::sigmoid}) {
    const auto got = routed(of(3, 2, routing), std::vector<float>(3, NAN));
    for (const int32_t expert : got.experts) EXPECT_TRUE(expert >= 0 && expert < 3);
    EXPECT_TRUE(std::isnan(got.weights[0]));
    // One that would not be chosen is enough.
    const auto one = routed(of(3, 1, routing), {5, NAN, 1});
    EXPECT_TRUE(std::isnan(one.weights[0]));
  }
}

TEST(Route, NotANumberInTheCorrectionIsNotLost) {
  const auto got = routed(of(3, 1, Routing::sigmoid), {5, 2, 1}, {0, NAN, 0});
  EXPECT_TRUE(std::isnan(got.weights[0]));
}

}  // namespace
}  // namespace scute::routing_test
