#include "scute/quantize/grouping.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <numeric>
#include <set>

#include "scute/base/error.h"
#include "scute/base/random.h"

namespace scute::grouping_test {
namespace {

using testing::Each;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::ThrowsMessage;

using Rows = std::vector<std::vector<float>>;

std::vector<float> joined(const Rows& rows) {
  std::vector<float> out;
  for (const auto& row : rows) out.insert(out.end(), row.begin(), row.end());
  return out;
}

/// A head's channels ascending, of length 1.
std::vector<double> profile(std::vector<float> head) {
  std::ranges::sort(head);
  double squares = 0;
  for (const float x : head) squares += static_cast<double>(x) * x;
  std::vector<double> out;
  for (const float x : head) out.push_back(x / std::sqrt(squares));
  return out;
}

/// Within the ranges that end at `ends`, squared distances from the mean over each, over all heads.
double range_cost(const std::vector<std::vector<double>>& heads, std::array<int, 4> ends) {
  double cost = 0;
  for (const auto& head : heads) {
    int begin = 0;
    for (const int end : ends) {
      double mean = 0;
      for (int p = begin; p < end; ++p) mean += head[static_cast<size_t>(p)] / (end - begin);
      for (int p = begin; p < end; ++p) {
        const double d = head[static_cast<size_t>(p)] - mean;
        cost += d * d;
      }
      begin = end;
    }
  }
  return cost;
}

/// The best of all ways to cut `places` into 4 ranges, by trying all.
double least_cost(const std::vector<std::vector<double>>& heads, int places) {
  double least = std::numeric_limits<double>::infinity();
  for (int a = 1; a < places - 2; ++a) {
    for (int b = a + 1; b < places - 1; ++b) {
      for (int c = b + 1; c < places; ++c) {
        least = std::min(least, range_cost(heads, {a, b, c, places}));
      }
    }
  }
  return least;
}

std::array<int, 4> ends_of(const HeadGrouping& grouping, size_t head_group) {
  const int32_t* ends = grouping.channel_ends.data() + 4 * head_group;
  return {ends[0], ends[1], ends[2], ends[3]};
}

/// Kinds of heads whose sorted channels have their steps at other places.
std::vector<float> head_of_kind(int kind, Random& random) {
  constexpr std::array<std::array<int, 3>, 4> kSteps = {
      {{1, 2, 3}, {5, 6, 7}, {2, 4, 6}, {1, 4, 7}}};
  std::vector<float> head;
  for (int p = 0; p < 8; ++p) {
    float level = 0.1f;
    for (const int step : kSteps[static_cast<size_t>(kind)]) level *= p >= step ? 3.0f : 1.0f;
    head.push_back(level * static_cast<float>(1 + 0.02 * random.uniform()));
  }
  random.shuffle(std::span(head));
  return head;
}

Rows interleaved_heads(uint64_t seed) {
  Random random(seed);
  Rows rows;
  for (int h = 0; h < 12; ++h) rows.push_back(head_of_kind(h % 4, random));
  return rows;
}

TEST(Grouping, AlikeHeadsComeTogether) {
  const HeadGrouping grouping = group_heads(joined(interleaved_heads(1)), 12, 8, 1, "x");
  EXPECT_THAT(grouping.head_order, ElementsAre(0, 4, 8, 1, 5, 9, 2, 6, 10, 3, 7, 11));
  EXPECT_THAT(grouping.head_ends, ElementsAre(3, 6, 9, 12));
}

TEST(Grouping, ChannelEndsAreThoseOfTheHeadsThatStandThereAfterReordering) {
  const Rows rows = interleaved_heads(2);
  const HeadGrouping grouping = group_heads(joined(rows), 12, 8, 1, "x");
  EXPECT_THAT(ends_of(grouping, 0), ElementsAre(1, 2, 3, 8));
  EXPECT_THAT(ends_of(grouping, 1), ElementsAre(5, 6, 7, 8));
  EXPECT_THAT(ends_of(grouping, 2), ElementsAre(2, 4, 6, 8));
  EXPECT_THAT(ends_of(grouping, 3), ElementsAre(1, 4, 7, 8));
  // The heads that stood at these places before (which Quamba's code reads) are of three kinds each
  // and ask for other ends.
  for (size_t group = 0; group < 4; ++group) {
    std::vector<std::vector<double>> before;
    for (size_t h = 0; h < 3; ++h) before.push_back(profile(rows[group * 3 + h]));
    EXPECT_GT(range_cost(before, ends_of(grouping, group)), least_cost(before, 8) * 1.01) << group;
  }
}

TEST(Grouping, ChannelRangesAreTheBestOfAll) {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    Random random(seed);
    Rows rows(9, std::vector<float>(11));
    for (auto& row : rows) {
      for (float& x : row) x = static_cast<float>(std::exp(random.normal()));
    }
    const HeadGrouping grouping = group_heads(joined(rows), 9, 11, 1, "x");
    int32_t begin = 0;
    for (size_t group = 0; group < 4; ++group) {
      std::vector<std::vector<double>> heads;
      for (int32_t h = begin; h < grouping.head_ends[group]; ++h) {
        const int32_t old = grouping.head_order[static_cast<size_t>(h)];
        heads.push_back(profile(rows[static_cast<size_t>(old)]));
      }
      begin = grouping.head_ends[group];
      // Sums of at most 99 terms below 1 in another order.
      EXPECT_NEAR(range_cost(heads, ends_of(grouping, group)), least_cost(heads, 11), 1e-13);
    }
  }
}

/// Ward's method from its definition: unites the two clusters whose union adds the least squared
/// distance from the means. Returns the clusters as sets of members.
std::set<std::set<int32_t>> plain_ward(const Rows& rows, size_t wanted) {
  std::vector<std::set<int32_t>> clusters;
  std::vector<std::vector<double>> profiles;
  for (const auto& row : rows) {
    clusters.push_back({static_cast<int32_t>(profiles.size())});
    profiles.push_back(profile(row));
  }
  const auto spread = [&](const std::set<int32_t>& members) {
    double sum = 0;
    for (size_t p = 0; p < profiles[0].size(); ++p) {
      double mean = 0;
      const auto size = static_cast<double>(members.size());
      for (const int32_t h : members) mean += profiles[static_cast<size_t>(h)][p] / size;
      for (const int32_t h : members) {
        sum += (profiles[static_cast<size_t>(h)][p] - mean) *
               (profiles[static_cast<size_t>(h)][p] - mean);
      }
    }
    return sum;
  };
  while (clusters.size() > wanted) {
    double least = std::numeric_limits<double>::infinity();
    size_t best_a = 0, best_b = 0;
    for (size_t a = 0; a < clusters.size(); ++a) {
      for (size_t b = a + 1; b < clusters.size(); ++b) {
        auto both = clusters[a];
        both.insert(clusters[b].begin(), clusters[b].end());
        const double added = spread(both) - spread(clusters[a]) - spread(clusters[b]);
        if (added < least) {
          least = added;
          best_a = a;
          best_b = b;
        }
      }
    }
    clusters[best_a].insert(clusters[best_b].begin(), clusters[best_b].end());
    clusters.erase(clusters.begin() + static_cast<std::ptrdiff_t>(best_b));
  }
  return {clusters.begin(), clusters.end()};
}

TEST(Grouping, HeadsAreClusteredByWardsMethod) {
  for (uint64_t seed = 1; seed <= 10; ++seed) {
    Random random(seed);
    Rows rows(24, std::vector<float>(6));
    for (auto& row : rows) {
      for (float& x : row) x = static_cast<float>(std::exp(random.normal()));
    }
    const HeadGrouping grouping = group_heads(joined(rows), 24, 6, 1, "x");
    std::set<std::set<int32_t>> clusters;
    auto head = grouping.head_order.begin();
    int32_t first = -1;
    for (const int32_t end : grouping.head_ends) {
      const auto stop = grouping.head_order.begin() + end;
      EXPECT_TRUE(std::is_sorted(head, stop));
      EXPECT_GT(*head, first) << "groups are numbered by their first head";
      first = *head;
      clusters.insert(std::set<int32_t>(head, stop));
      head = stop;
    }
    EXPECT_EQ(clusters, plain_ward(rows, 4)) << seed;
  }
}

TEST(Grouping, OrdersArePermutationsThatKeepChannelsInTheirHead) {
  Random random(3);
  std::vector<float> values(24 * 10);
  for (float& x : values) x = static_cast<float>(random.uniform());
  const HeadGrouping grouping = group_heads(values, 24, 10, 3, "x");
  EXPECT_EQ(grouping.head_ends.size(), 12u);
  EXPECT_EQ(grouping.channel_ends.size(), 48u);
  EXPECT_EQ(std::set(grouping.head_order.begin(), grouping.head_order.end()).size(), 24u);
  EXPECT_EQ(std::set(grouping.channel_order.begin(), grouping.channel_order.end()).size(), 240u);
  for (size_t i = 0; i < 240; ++i) {
    const int32_t head = grouping.head_order[i / 10], channel = grouping.channel_order[i];
    EXPECT_EQ(channel / 10, head);
    EXPECT_EQ(head / 8, static_cast<int32_t>(i / 80)) << "heads stay in their SSD group";
    if (i % 10 != 0) {
      EXPECT_LE(values[static_cast<size_t>(grouping.channel_order[i - 1])],
                values[static_cast<size_t>(channel)]);
    }
  }
}

TEST(Grouping, EqualHeadsAndChannelsAreGroupedTheSameWayAlways) {
  const HeadGrouping grouping = group_heads(std::vector<float>(6 * 5, 1), 6, 5, 1, "x");
  // All distances are 0: the smallest indices are united first, and ranges end as early as may be.
  EXPECT_THAT(grouping.head_order, ElementsAre(0, 1, 2, 3, 4, 5));
  EXPECT_THAT(grouping.head_ends, ElementsAre(3, 4, 5, 6));
  EXPECT_THAT(ends_of(grouping, 0), ElementsAre(1, 2, 3, 5));
  std::vector<int32_t> places(30);
  std::iota(places.begin(), places.end(), 0);
  EXPECT_EQ(grouping.channel_order, places);
}

TEST(Grouping, FewHeadsOrChannelsLeaveTheLastGroupsEmpty) {
  const HeadGrouping grouping = group_heads(joined({{1, 2}, {3, 1}}), 2, 2, 1, "x");
  EXPECT_THAT(grouping.head_ends, ElementsAre(1, 2, 2, 2));
  EXPECT_THAT(ends_of(grouping, 0), ElementsAre(1, 2, 2, 2));
  EXPECT_THAT(grouping.channel_order, ElementsAre(0, 1, 3, 2));
  EXPECT_THAT(ends_of(grouping, 3), ElementsAre(2, 2, 2, 2));
  EXPECT_EQ(grouping.scale_of(3), 4 * 1 + 1);
  EXPECT_NO_THROW(grouping_from_ends(grouping.head_ends, grouping.channel_ends, 2, 2, 1, "x"));
}

TEST(Grouping, HeadsOfZeroJoinTheFirstGroup) {
  Rows rows = interleaved_heads(4);
  const HeadGrouping without = group_heads(joined(rows), 12, 8, 1, "x");
  rows.push_back(std::vector<float>(8, 0));
  const HeadGrouping grouping = group_heads(joined(rows), 13, 8, 1, "x");
  EXPECT_THAT(grouping.head_order, ElementsAre(0, 4, 8, 12, 1, 5, 9, 2, 6, 10, 3, 7, 11));
  EXPECT_THAT(grouping.head_ends, ElementsAre(4, 7, 10, 13));
  EXPECT_EQ(grouping.channel_ends, without.channel_ends);

  const HeadGrouping dead = group_heads(std::vector<float>(12, 0), 3, 4, 1, "x");
  EXPECT_THAT(dead.head_ends, Each(3));
  EXPECT_THAT(ends_of(dead, 0), ElementsAre(1, 2, 3, 4));
}

TEST(Grouping, BadStatisticsAreRefusedByName) {
  const auto with = [](float x) {
    return [x] { group_heads(std::vector<float>{1, x}, 1, 2, 1, "layer_2.x_conv_out:input"); };
  };
  const auto names = ThrowsMessage<Error>(HasSubstr("layer_2.x_conv_out:input"));
  EXPECT_THAT(with(std::numeric_limits<float>::quiet_NaN()), names);
  EXPECT_THAT(with(std::numeric_limits<float>::infinity()), names);
  EXPECT_THAT(with(-1), names);
  EXPECT_NO_THROW(with(0)());
  const std::vector<float> six(6, 1);
  EXPECT_THROW(group_heads(six, 3, 2, 2, "x"), Error);
  EXPECT_THROW(group_heads(six, 2, 2, 1, "x"), Error);
  EXPECT_THROW(group_heads(six, 6, 0, 1, "x"), Error);
  EXPECT_THROW(group_heads(six, int64_t{1} << 40, int64_t{1} << 40, 1, "x"), Error);
}

/// 2 SSD groups of 2 heads of width 6; one head group of both heads, one empty, two empty.
HeadGrouping small_grouping() {
  std::vector<int32_t> channel_ends;
  for (int i = 0; i < 8; ++i) channel_ends.insert(channel_ends.end(), {1, 2, 4, 6});
  return grouping_from_ends({1, 2, 2, 2, 0, 2, 2, 2}, channel_ends, 4, 6, 2, "x");
}

TEST(Grouping, ScalesAreFoundByCumulativeEnds) {
  const HeadGrouping grouping = small_grouping();
  // SSD group 0: head 0 in head group 0, head 1 in 1. SSD group 1: both heads in head group 1.
  const std::array<int64_t, 6> within = {0, 1, 2, 2, 3, 3};
  for (int64_t p = 0; p < 6; ++p) {
    const int64_t range = within[static_cast<size_t>(p)];
    EXPECT_EQ(grouping.scale_of(p), range);
    EXPECT_EQ(grouping.scale_of(6 + p), 4 + range);
    EXPECT_EQ(grouping.scale_of(12 + p), 16 + 4 + range);
    EXPECT_EQ(grouping.scale_of(18 + p), 16 + 4 + range);
  }
  EXPECT_THROW(grouping.scale_of(24), Error);
  EXPECT_THROW(grouping.scale_of(-1), Error);
}

TEST(Grouping, MaximaPerGroupSpreadBackAreNeverBelowTheValues) {
  Random random(5);
  std::vector<float> meanabs(16 * 8), values(16 * 8 * 3);
  for (float& x : meanabs) x = static_cast<float>(random.uniform());
  for (float& x : values) x = static_cast<float>(random.uniform());
  const HeadGrouping grouping = group_heads(meanabs, 16, 8, 2, "x");
  const auto maxima = grouping.group_maxima(values, 3);
  EXPECT_EQ(maxima.size(), 2u * 16 * 3);
  const auto spread = grouping.spread(maxima, 3);
  ASSERT_EQ(spread.size(), values.size());
  std::set<std::pair<int64_t, size_t>> reached;
  for (size_t i = 0; i < 128; ++i) {
    for (size_t k = 0; k < 3; ++k) {
      const float value = values[static_cast<size_t>(grouping.channel_order[i]) * 3 + k];
      EXPECT_LE(value, spread[i * 3 + k]);
      const auto channel = static_cast<int64_t>(i);
      if (value == spread[i * 3 + k]) reached.insert({grouping.scale_of(channel), k});
    }
  }
  EXPECT_EQ(reached.size(), 2u * 16 * 3) << "each maximum is one of its group's values";
}

TEST(Grouping, WithoutOrdersValuesAreInTheNewOrderAlready) {
  const HeadGrouping grouping = small_grouping();
  std::vector<float> values(24, 0);
  values[7] = 3;   // head 1, channel 1
  values[23] = 5;  // head 3, channel 5
  const auto maxima = grouping.group_maxima(values);
  EXPECT_EQ(maxima[5], 3);
  EXPECT_EQ(maxima[23], 5);
  EXPECT_EQ(std::ranges::count(maxima, 0.0f), 30);
  EXPECT_THROW(grouping.group_maxima(values, 2), Error);
  EXPECT_THROW(grouping.spread(values), Error);
}

TEST(Grouping, EndsThatDoNotFitAreRefused) {
  const std::vector<int32_t> heads = {1, 2, 2, 2};
  const std::vector<int32_t> channels = {1, 2, 3, 4, 1, 2, 3, 4, 4, 4, 4, 4, 0, 0, 0, 4};
  EXPECT_NO_THROW(grouping_from_ends(heads, channels, 2, 4, 1, "x"));
  EXPECT_THROW(grouping_from_ends({1, 2, 2}, channels, 2, 4, 1, "x"), Error);
  EXPECT_THROW(grouping_from_ends({2, 1, 2, 2}, channels, 2, 4, 1, "x"), Error);
  EXPECT_THROW(grouping_from_ends({-1, 1, 2, 2}, channels, 2, 4, 1, "x"), Error);
  EXPECT_THROW(grouping_from_ends({1, 1, 1, 1}, channels, 2, 4, 1, "x"), Error);
  EXPECT_THROW(grouping_from_ends({1, 3, 2, 2}, channels, 2, 4, 1, "x"), Error);
  EXPECT_THROW(grouping_from_ends(heads, channels, 2, 5, 1, "x"), Error);
  EXPECT_THROW(grouping_from_ends(heads, channels, 3, 4, 2, "x"), Error);
  EXPECT_THROW(grouping_from_ends(heads, {1, 2, 3, 4}, 2, 4, 1, "x"), Error);
}

TEST(PermuteRows, MovesWholeRowsOfAnyRankAndType) {
  const std::vector<int8_t> values = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12};
  const Tensor cube = Tensor::of<int8_t>({3, 2, 2}, values);
  const Tensor moved = permute_rows(cube, std::vector<int32_t>{2, 0, 1});
  EXPECT_EQ(moved.shape(), cube.shape());
  EXPECT_THAT(moved.values<int8_t>(), ElementsAre(9, 10, 11, 12, 1, 2, 3, 4, 5, 6, 7, 8));
  const std::vector<double> line = {0.5, 1.5};
  EXPECT_THAT(
      permute_rows(Tensor::of<double>({2}, line), std::vector<int32_t>{1, 0}).values<double>(),
      ElementsAre(1.5, 0.5));
  EXPECT_THROW(permute_rows(cube, std::vector<int32_t>{0, 1}), Error);
  EXPECT_THROW(permute_rows(cube, std::vector<int32_t>{0, 1, 3}), Error);
  EXPECT_THROW(permute_rows(cube, std::vector<int32_t>{0, 1, 1}), Error);
  EXPECT_THROW(permute_rows(Tensor(DType::f32, {}), std::vector<int32_t>{0}), Error);
}

}  // namespace
}  // namespace scute::grouping_test
