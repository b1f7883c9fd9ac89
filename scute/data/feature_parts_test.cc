#include "scute/data/feature_parts.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

#include "scute/io/testing.h"

namespace scute::feature_parts_test {
namespace {

using fixtures::error_of;
using fixtures::floats;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();
constexpr float kInfinity = std::numeric_limits<float>::infinity();

TEST(FeatureIndex, KeepsEveryListAndIgnoresOtherKeys) {
  const FeatureIndex index = parse_feature_index(
      R"({"taps": [{}], "role": "test", "indices": [1], "indices_train": [2, 2], "indices_eval": []})",
      "f");
  EXPECT_EQ(index.role, "test");
  EXPECT_THAT(index.any, ElementsAre(1));
  EXPECT_THAT(index.train, ElementsAre(2, 2));
  EXPECT_THAT(index.listed(FeatureRole::test), ElementsAre(1));
  EXPECT_THAT(index.listed(FeatureRole::automatic), ElementsAre(1));
  EXPECT_THAT(index.listed(FeatureRole::train), IsEmpty());  // the sequence is for test
}

TEST(FeatureIndex, BoundsOfAWindow) {
  check_window_ends({3, 9, 3}, 3, 10, "f");
  check_window_ends({}, 3, 0, "f");
  EXPECT_NE(error_of([] { check_window_ends({3, 2}, 3, 10, "f"); }), "");
  EXPECT_NE(error_of([] { check_window_ends({10}, 3, 10, "f"); }), "");
}

TEST(FeatureStatistics, DeviationsAreNeverBelowTheFloor) {
  const NamedTensor mean{"feat_mean", floats({2}, {1, 2})};
  const NamedTensor deviation{"feat_std", Tensor::of<double>({2}, std::vector<double>{0.5, 0})};
  const auto with = [&](std::vector<NamedTensor> more) {
    more.insert(more.end(), {mean, deviation});
    return parse_feature_statistics(more, 2, "s").deviation;
  };
  EXPECT_THAT(with({}), ElementsAre(0.5F, 1e-3F));
  EXPECT_THAT(with({{"std_floor", floats({}, {0.75F})}}), ElementsAre(0.75F, 0.75F));
  EXPECT_THAT(with({{"std_floor", Tensor::of<double>({1}, std::vector<double>{1e-5})},
                    {"count", Tensor::of<int64_t>({}, std::vector<int64_t>{7})},
                    {"Din", Tensor::of<int64_t>({}, std::vector<int64_t>{2})}}),
              ElementsAre(0.5F, 1e-5F));
}

TEST(FeatureStatistics, WrongOnesAreRefused) {
  const Tensor good = floats({2}, {1, 2});
  const auto refusal = [](const std::vector<NamedTensor>& arrays) {
    return error_of([&] { parse_feature_statistics(arrays, 2, "s.npz"); });
  };
  EXPECT_EQ(refusal({{"feat_mean", good}, {"feat_std", good}}), "");
  EXPECT_THAT(refusal({{"feat_mean", good}}), HasSubstr("no feat_std"));
  EXPECT_THAT(refusal({{"feat_std", good}}), HasSubstr("no feat_mean"));
  for (const Tensor& bad : {floats({3}, {1, 2, 3}), floats({1, 2}, {1, 2}), Tensor(DType::i32, {2}),
                            floats({2}, {1, kNaN}), floats({2}, {kInfinity, 1}),
                            Tensor::of<double>({2}, std::vector<double>{1, 1e300})}) {
    EXPECT_THAT(refusal({{"feat_mean", bad}, {"feat_std", good}}), HasSubstr("s.npz: feat_mean"));
    EXPECT_THAT(refusal({{"feat_mean", good}, {"feat_std", bad}}), HasSubstr("s.npz: feat_std"));
  }
  EXPECT_THAT(refusal({{"feat_mean", good}, {"feat_std", floats({2}, {1, -1})}}),
              HasSubstr("at least 0"));
  for (const float floor : {0.0F, -1.0F, kNaN, kInfinity}) {
    EXPECT_THAT(
        refusal({{"feat_mean", good}, {"feat_std", good}, {"std_floor", floats({1}, {floor})}}),
        HasSubstr("std_floor"));
  }
  const Tensor din = Tensor::of<int64_t>({}, std::vector<int64_t>{2100});
  EXPECT_THAT(refusal({{"feat_mean", good}, {"feat_std", good}, {"Din", din}}),
              AllOf(HasSubstr("Din"), HasSubstr("2100"), HasSubstr("a model trained on this")));
  EXPECT_THAT(refusal({{"feat_mean", good}, {"feat_std", good}, {"Din", good}}), HasSubstr("Din"));
}

FeatureSequence sequence_of(Tensor frames) {
  return {.name = "a", .frames = std::move(frames), .positions = {}, .times = {}, .ends = {}};
}

TEST(NormalizedFrames, SubtractsAndDividesInFloat) {
  // NumPy divides: 7 / 3 in float is one ulp less than 7 · (1 / 3).
  const FeatureNormalization by{.path = "s", .mean = {1, 0}, .deviation = {2, 3}};
  NonFinite found;
  const FeatureSequence sequence = sequence_of(floats({2, 2}, {3, 7, -1, 0}));
  const Tensor out = normalized_frames(sequence, by, found);
  EXPECT_THAT(fixtures::elements<float>(out), ElementsAre(1, 7.0F / 3.0F, -1, 0));
  EXPECT_EQ(out.shape(), (Shape{2, 2}));
  EXPECT_EQ(sequence.frames.values<float>()[0], 3);  // as they were
  EXPECT_EQ(found.nans + found.infinities, 0);
}

TEST(NormalizedFrames, WidensHalfFloats) {
  const Tensor stored = floats({1, 2}, {0.1F, -3}).rounded_to(DType::f16);
  NonFinite found;
  EXPECT_THAT(fixtures::elements<float>(normalized_frames(sequence_of(stored), {}, found)),
              ElementsAre(0.0999755859375F, -3));  // 0.1 as half float: 1638 / 2^14
}

TEST(NormalizedFrames, ReplacesAndCountsWhatIsNoNumber) {
  const FeatureNormalization by{.path = "s", .mean = {5, 5}, .deviation = {1e-3F, 1}};
  const Tensor stored = floats({3, 2}, {kNaN, kNaN, kInfinity, -kInfinity, -3e38F, 5});
  NonFinite found{.nans = 10, .infinities = 20};
  // −3e38 / 1e-3 is beyond the largest float.
  EXPECT_THAT(fixtures::elements<float>(normalized_frames(sequence_of(stored), by, found)),
              ElementsAre(0, 0, 1e6F, -1e6F, -1e6F, 0));
  EXPECT_EQ(found.nans, 12);
  EXPECT_EQ(found.infinities, 23);
}

TEST(NormalizedFrames, RefusesStatisticsOfAnotherWidth) {
  const FeatureNormalization by{.path = "s", .mean = {5}, .deviation = {1}};
  NonFinite found;
  EXPECT_NE(error_of([&] {
              normalized_frames(sequence_of(floats({1, 2}, {1, 2})), by, found);
            }),
            "");
}

}  // namespace
}  // namespace scute::feature_parts_test
