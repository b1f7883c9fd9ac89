// Why this clustering. Quamba2 (arXiv 2503.22879, §4.2) found that the same heads and channels of x
// are large for every input: an order fixed beforehand serves all of them, and each group of
// similar ones gets a scale. Step by step:
//
// - Channels of a head by magnitude (sort_head). Equal sizes become neighbours, so that a group of
//   channels is a range and its end one number.
// - Heads by the shape of their sorted profile (ward), divided by its length (sort_head): members
//   share the ends of ranges, so what matters is where a profile bends, not how large it is. The
//   scales themselves come from maxima, afterwards.
// - The ends of the ranges in each group of heads (best_ends).
//
// 4 × 4 groups for each SSD group are the file format's: scales of (G, 4, 4), and of (G, 4, 4, N)
// for the state, found by comparing a place with four ends, twice.
//
// Ward's distance, the spread that a union adds, because a scale serves a group as well as its
// members are alike, however many they are. Quamba cuts channels by k-means, which does not know
// that they are sorted and may interleave ranges; on sorted places the best cut is found exactly.
//
// Ties go to the smallest index and sums run in index order: the same statistics give the same
// order of the stored weights on every machine.
#include "scute/quantize/grouping.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <numeric>
#include <utility>

#include "scute/base/checked.h"
#include "scute/quantize/order.h"

namespace scute {
namespace {

/// Of heads in an SSD group, and of channels in a head: bounds the tables of distances and costs at
/// 128 MiB each. The largest published models have 160 heads and 128 channels.
constexpr int64_t kMost = 4096;

using Profile = std::vector<double>;  ///< one head's channels, ascending

void check_sizes(int64_t heads, int64_t head_width, int64_t groups, std::string_view where) {
  if (groups < 1 || heads < 1 || head_width < 1 || heads % groups != 0) {
    fail(where, "heads in SSD groups of equal size",
         fmt::format("{} heads of width {} in {} groups", heads, head_width, groups));
  }
  if (heads / groups > kMost || head_width > kMost) {
    fail(where, fmt::format("at most {0} heads in a group and {0} channels in a head", kMost),
         fmt::format("{} and {}", heads / groups, head_width));
  }
  narrow<int32_t>(checked_mul(heads, head_width, where), where);  // orders are 32-bit
}

double squared_distance(const Profile& a, const Profile& b) {
  double sum = 0;
  for (size_t p = 0; p < a.size(); ++p) sum += (a[p] - b[p]) * (a[p] - b[p]);
  return sum;
}

/// The symmetric table of squared distances, row by row.
std::vector<double> distances_between(const std::vector<Profile>& profiles) {
  const size_t n = profiles.size();
  std::vector<double> distance(n * n, 0);
  for (size_t i = 0; i < n; ++i) {
    for (size_t j = 0; j < i; ++j) {
      distance[i * n + j] = distance[j * n + i] = squared_distance(profiles[i], profiles[j]);
    }
  }
  return distance;
}

/// The two clusters that are the least apart; of equal ones the smallest indices.
std::pair<size_t, size_t> nearest(const std::vector<size_t>& clusters,
                                  const std::vector<double>& distance, size_t n) {
  size_t a = clusters[0], b = clusters[1];
  for (size_t i = 0; i < clusters.size(); ++i) {
    for (size_t j = i + 1; j < clusters.size(); ++j) {
      if (distance[clusters[i] * n + clusters[j]] < distance[a * n + b]) {
        a = clusters[i];
        b = clusters[j];
      }
    }
  }
  return {a, b};
}

/// Ward's clustering: the two clusters whose union adds the least to the squared distances from
/// the means are united until `wanted` are left. Distances after a union by the recurrence of Lance
/// and Williams (1967), which needs the distances and sizes alone. Cubic in the number of heads:
/// 160 heads are 1.4 million comparisons. Returns a label per profile, numbered by first member.
std::vector<int> ward(const std::vector<Profile>& profiles, size_t wanted) {
  const size_t n = profiles.size();
  std::vector<double> distance = distances_between(profiles), size(n, 1);
  std::vector<size_t> clusters(n), of(n);  // a cluster is known by its first member
  std::iota(clusters.begin(), clusters.end(), 0);
  std::iota(of.begin(), of.end(), 0);
  while (clusters.size() > wanted) {
    const auto [a, b] = nearest(clusters, distance, n);
    std::erase(clusters, b);
    for (const size_t c : clusters) {
      if (c == a) continue;
      const double united =
          ((size[a] + size[c]) * distance[a * n + c] + (size[b] + size[c]) * distance[b * n + c] -
           size[c] * distance[a * n + b]) /
          (size[a] + size[b] + size[c]);
      distance[a * n + c] = distance[c * n + a] = united;
    }
    size[a] += size[b];
    std::ranges::replace(of, b, a);
  }
  std::vector<int> labels;
  for (const size_t cluster : of) {
    labels.push_back(static_cast<int>(std::ranges::find(clusters, cluster) - clusters.begin()));
  }
  return labels;
}

/// cost[a·(P + 1) + b]: what a range of places a … b − 1 costs, the squared distances of `heads`
/// from their means over it. Means and sums as values come (Welford), exact 0 for equal values.
std::vector<double> range_costs(const std::vector<const Profile*>& heads, size_t places) {
  std::vector<double> cost((places + 1) * (places + 1), 0);
  for (const Profile* head : heads) {
    for (size_t a = 0; a < places; ++a) {
      double mean = 0, sum = 0;
      for (size_t b = a; b < places; ++b) {
        const double value = (*head)[b], before = value - mean;
        mean += before / static_cast<double>(b - a + 1);
        sum += before * (value - mean);
        cost[a * (places + 1) + b + 1] += sum;
      }
    }
  }
  return cost;
}

/// The ends of min(4, P) consecutive ranges, none empty, of the least total cost; of equal ones
/// those that end first. Then ends of P up to 4. Exact, by dynamic programming over the last
/// range's start: 3·P²/2 steps, 25 thousand for P = 128.
std::vector<int32_t> best_ends(const std::vector<const Profile*>& heads, size_t places) {
  const std::vector<double> cost = range_costs(heads, places);
  const size_t ranges = std::min(static_cast<size_t>(kChannelGroups), places), width = places + 1;
  // least[r·width + b]: of the first b places in r + 1 ranges; start: of the last of these.
  std::vector<double> least(ranges * width, std::numeric_limits<double>::infinity());
  std::vector<size_t> start(ranges * width, 0);
  for (size_t b = 1; b <= places; ++b) least[b] = cost[b];
  for (size_t r = 1; r < ranges; ++r) {
    for (size_t b = r + 1; b <= places; ++b) {
      for (size_t a = r; a < b; ++a) {
        const double total = least[(r - 1) * width + a] + cost[a * width + b];
        if (total < least[r * width + b]) {
          least[r * width + b] = total;
          start[r * width + b] = a;
        }
      }
    }
  }
  std::vector<int32_t> ends(static_cast<size_t>(kChannelGroups), static_cast<int32_t>(places));
  size_t end = places;
  for (size_t r = ranges; r-- > 0;) {
    ends[r] = static_cast<int32_t>(end);
    end = start[r * width + end];
  }
  return ends;
}

/// Heads and channels of one SSD group. Groups do not exchange heads: those of one share B and C.
class SsdGroup {
 public:
  SsdGroup(std::span<const float> meanabs, int64_t heads, int64_t head_width)
      : heads_(static_cast<size_t>(heads)), width_(static_cast<size_t>(head_width)) {
    for (size_t h = 0; h < heads_; ++h) sort_head(meanabs.subspan(h * width_, width_));
    cluster();
  }

  /// `first`: the number of the group's first head.
  void append_to(HeadGrouping& out, size_t first) const {
    int32_t end = 0;
    for (int label = 0; label < kHeadGroups; ++label) {
      std::vector<const Profile*> members;
      for (size_t h = 0; h < heads_; ++h) {
        if (labels_[h] != label) continue;
        ++end;
        members.push_back(&profiles_[h]);
        out.head_order.push_back(static_cast<int32_t>(first + h));
        for (const size_t p : orders_[h]) {
          out.channel_order.push_back(static_cast<int32_t>((first + h) * width_ + p));
        }
      }
      out.head_ends.push_back(end);
      const auto ends = members.empty()
                            ? std::vector<int32_t>(kChannelGroups, static_cast<int32_t>(width_))
                            : best_ends(members, width_);
      out.channel_ends.insert(out.channel_ends.end(), ends.begin(), ends.end());
    }
  }

 private:
  /// The order of a head's channels and the profile they make, of length 1.
  void sort_head(std::span<const float> values) {
    std::vector<size_t> order(width_);
    std::iota(order.begin(), order.end(), 0);
    std::ranges::stable_sort(order, {}, [&](size_t p) { return values[p]; });
    Profile profile;
    double squares = 0;
    for (const size_t p : order) {
      profile.push_back(static_cast<double>(values[p]));
      squares += profile.back() * profile.back();
    }
    for (double& value : profile) value = squares == 0 ? 0 : value / std::sqrt(squares);
    profiles_.push_back(std::move(profile));
    orders_.push_back(std::move(order));
  }

  /// Heads that are all zero have no profile: they join the first group and add no cost.
  void cluster() {
    std::vector<Profile> live;
    for (const Profile& profile : profiles_) {
      if (profile.back() > 0) live.push_back(profile);
    }
    const auto live_labels = ward(live, static_cast<size_t>(kHeadGroups));
    auto next = live_labels.begin();
    for (const Profile& profile : profiles_) labels_.push_back(profile.back() > 0 ? *next++ : 0);
  }

  size_t heads_, width_;
  std::vector<Profile> profiles_;
  std::vector<std::vector<size_t>> orders_;
  std::vector<int> labels_;
};

/// `parts` runs of 4 ends, each ascending from 0 to `last`.
void check_ends(std::span<const int32_t> ends, int64_t parts, int64_t last, std::string_view what,
                std::string_view where) {
  constexpr int64_t kEnds = 4;
  static_assert(kEnds == kHeadGroups && kEnds == kChannelGroups);
  if (std::ssize(ends) != checked_mul(parts, kEnds, where)) {
    fail(where, fmt::format("{} × 4 ends of {}", parts, what), fmt::to_string(ends.size()));
  }
  for (size_t i = 0; i < ends.size(); ++i) {
    const int32_t before = i % kEnds == 0 ? 0 : ends[i - 1];
    const bool end_fits = i % kEnds != kEnds - 1 || ends[i] == last;
    if (ends[i] >= before && ends[i] <= last && end_fits) continue;
    fail(where, fmt::format("ends of {} that ascend to {}", what, last),
         fmt::format("{} after {}", ends[i], before));
  }
}

size_t rank(std::span<const int32_t> ends, int64_t place) {
  return static_cast<size_t>(
      std::ranges::count_if(ends, [place](int32_t end) { return place >= end; }));
}

}  // namespace

int64_t HeadGrouping::scale_of(int64_t channel) const {
  const int64_t heads_in_group = heads / groups, head = channel / head_width;
  if (channel < 0 || head >= heads) {
    fail("head grouping", fmt::format("a channel below {}", heads * head_width),
         fmt::to_string(channel));
  }
  constexpr size_t kEnds = 4;
  const auto group = static_cast<size_t>(head / heads_in_group);
  const size_t head_group = group * kEnds + rank(std::span(head_ends).subspan(group * kEnds, kEnds),
                                                 head % heads_in_group);
  return static_cast<int64_t>(
      head_group * kEnds +
      rank(std::span(channel_ends).subspan(head_group * kEnds, kEnds), channel % head_width));
}

std::vector<float> HeadGrouping::group_maxima(std::span<const float> values,
                                              int64_t per_channel) const {
  const int64_t channels = heads * head_width;
  if (per_channel < 1 ||
      std::ssize(values) != checked_mul(channels, per_channel, "head grouping")) {
    fail("head grouping", fmt::format("{} × {} values", channels, per_channel),
         fmt::to_string(values.size()));
  }
  std::vector<float> out(static_cast<size_t>(groups * kHeadGroups * kChannelGroups * per_channel),
                         0);
  for (int64_t i = 0; i < channels; ++i) {
    const int64_t old = channel_order.empty() ? i : channel_order[static_cast<size_t>(i)];
    const float* from = values.data() + old * per_channel;
    float* most = out.data() + scale_of(i) * per_channel;
    for (int64_t k = 0; k < per_channel; ++k) most[k] = std::max(most[k], from[k]);
  }
  return out;
}

std::vector<float> HeadGrouping::spread(std::span<const float> scales, int64_t per_channel) const {
  const int64_t count = groups * kHeadGroups * kChannelGroups;
  if (per_channel < 1 || std::ssize(scales) != checked_mul(count, per_channel, "head grouping")) {
    fail("head grouping", fmt::format("{} × {} scales", count, per_channel),
         fmt::to_string(scales.size()));
  }
  std::vector<float> out;
  for (int64_t i = 0; i < heads * head_width; ++i) {
    const float* from = scales.data() + scale_of(i) * per_channel;
    out.insert(out.end(), from, from + per_channel);
  }
  return out;
}

HeadGrouping group_heads(std::span<const float> channel_meanabs, int64_t heads, int64_t head_width,
                         int64_t groups, std::string_view where) {
  check_sizes(heads, head_width, groups, where);
  if (std::ssize(channel_meanabs) != heads * head_width) {
    fail(where, fmt::format("{} channels", heads * head_width),
         fmt::to_string(channel_meanabs.size()));
  }
  for (const float value : channel_meanabs) {
    if (!(value >= 0 && std::isfinite(value))) {
      fail(where, "finite magnitudes of at least 0", fmt::to_string(value));
    }
  }
  HeadGrouping out;
  out.groups = groups;
  out.heads = heads;
  out.head_width = head_width;
  const int64_t heads_in_group = heads / groups;
  const auto channels = static_cast<size_t>(heads_in_group * head_width);
  for (int64_t g = 0; g < groups; ++g) {
    const auto values = channel_meanabs.subspan(static_cast<size_t>(g) * channels, channels);
    SsdGroup(values, heads_in_group, head_width)
        .append_to(out, static_cast<size_t>(g * heads_in_group));
  }
  return out;
}

HeadGrouping grouping_from_ends(std::vector<int32_t> head_ends, std::vector<int32_t> channel_ends,
                                int64_t heads, int64_t head_width, int64_t groups,
                                std::string_view where) {
  check_sizes(heads, head_width, groups, where);
  check_ends(head_ends, groups, heads / groups, "heads", where);
  check_ends(channel_ends, checked_mul(groups, kHeadGroups, where), head_width, "channels", where);
  HeadGrouping out;
  out.groups = groups;
  out.heads = heads;
  out.head_width = head_width;
  out.head_ends = std::move(head_ends);
  out.channel_ends = std::move(channel_ends);
  return out;
}

Tensor permute_rows(const Tensor& tensor, std::span<const int32_t> order) {
  if (tensor.rank() < 1) fail("permute rows", "at least one dimension", to_string(tensor.shape()));
  check_order(order, tensor.dim(0), "permute rows");
  const auto from = tensor.bytes();
  const size_t row = order.empty() ? 0 : from.size() / order.size();
  std::vector<std::byte> out;
  out.reserve(from.size());
  for (const int32_t i : order) {
    const auto bytes = from.subspan(static_cast<size_t>(i) * row, row);
    out.insert(out.end(), bytes.begin(), bytes.end());
  }
  return Tensor::of_bytes(tensor.dtype(), tensor.shape(), out);
}

}  // namespace scute
