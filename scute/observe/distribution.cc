#include "scute/observe/distribution.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cmath>

#include "scute/base/error.h"

namespace scute {
namespace {

using Point = Distribution::Point;

constexpr uint32_t kInfinityBits = 0x7f800000;

/// Turns buckets into the intervals and representatives that Distribution serves.
class PointMaker {
 public:
  explicit PointMaker(const Statistic& statistic)
      : shift_(23 - statistic.histogram.fine()),
        sign_(uint32_t{1} << (8 + statistic.histogram.fine())),
        exact_(statistic.exact()),
        min_(statistic.min),
        max_(statistic.max) {
    const Histogram& histogram = statistic.histogram;
    only_zeros_ = statistic.zeros == histogram.count(0) + histogram.count(sign_);
  }

  bool finite(uint32_t id) const { return magnitude(id) << shift_ < kInfinityBits; }
  uint32_t magnitude(uint32_t id) const { return id & (sign_ - 1); }
  bool negative(uint32_t id) const { return (id & sign_) != 0; }

  Point make(uint32_t id, uint64_t count) const {
    const uint32_t m = magnitude(id);
    double low = edge(m);
    double high = exact_ || (m == 0 && only_zeros_) ? low : edge(m + 1);
    if (negative(id)) {
      std::swap(low, high);
      low = -low;
      high = -high;
    }
    // Adding +0 turns −0 into +0.
    low = std::clamp(low, min_, max_) + 0.0;
    high = std::clamp(high, min_, max_) + 0.0;
    return {low + (high - low) / 2, count, low, high};
  }

 private:
  double edge(uint32_t m) const { return static_cast<double>(std::bit_cast<float>(m << shift_)); }

  int shift_;
  uint32_t sign_;
  bool exact_, only_zeros_;
  double min_, max_;
};

/// |x| of one bucket.
Point mirrored(Point p) {
  return p.high <= 0 ? Point{-p.value + 0.0, p.count, -p.high + 0.0, -p.low + 0.0} : p;
}

/// The same magnitude seen with both signs.
Point united(const Point& a, const Point& b) {
  const double low = std::min(a.low, b.low), high = std::max(a.high, b.high);
  return {low + (high - low) / 2, a.count + b.count, low, high};
}

std::vector<uint64_t> running_sum(const std::vector<Point>& points) {
  std::vector<uint64_t> out;
  out.reserve(points.size());
  uint64_t sum = 0;
  for (const Point& p : points) out.push_back(sum += p.count);
  return out;
}

double value_at_rank(const std::vector<Point>& points, const std::vector<uint64_t>& cumulative,
                     uint64_t rank) {
  const auto found = std::ranges::lower_bound(cumulative, rank);
  return points[static_cast<size_t>(found - cumulative.begin())].value;
}

void check_share(double share, uint64_t count) {
  if (count == 0) fail("quantile", "at least one finite value", "none");
  if (!(share >= 0 && share <= 1)) fail("quantile", "a share in [0, 1]", fmt::to_string(share));
}

}  // namespace

uint64_t rank_of_share(double share, uint64_t n) {
  // The product of 53 and 63 bits is off by at most 2^−64 relative in a long double; 2^−50·n covers
  // that, the rounding of `share` and one or two operations that led to it (100 − p, / 100, 1 − …).
  if (share >= 1) return n;
  const auto total = static_cast<long double>(n);
  const long double rank = std::ceil((static_cast<long double>(share) - 0x1p-50L) * total);
  if (rank < 1) return 1;
  return rank >= total ? n : static_cast<uint64_t>(rank);
}

Distribution::Distribution(const Statistic& statistic)
    : min_(static_cast<double>(statistic.min) + 0.0),
      max_(static_cast<double>(statistic.max) + 0.0) {
  const PointMaker maker(statistic);
  const std::vector<Histogram::Bucket> buckets = statistic.histogram.ascending();
  std::vector<uint32_t> ids;  // magnitudes, beside points_
  ids.reserve(buckets.size());
  points_.reserve(buckets.size());
  for (const auto& [id, count] : buckets) {
    if (!maker.finite(id)) continue;
    const Point point = maker.make(id, count);
    count_ += count;
    // −0 and +0 are one value.
    if (!points_.empty() && points_.back().high == 0 && point.low == point.high && point.low == 0 &&
        points_.back().low == 0) {
      points_.back().count += count;
      continue;
    }
    points_.push_back(point);
    ids.push_back(maker.magnitude(id));
  }
  // A lone value in an outermost bucket is the extreme itself.
  if (!points_.empty()) {
    Point& first = points_.front();
    Point& last = points_.back();
    if (first.count == 1) first = {min_, 1, min_, min_};
    if (last.count == 1) last = {max_, 1, max_, max_};
  }
  cumulative_ = running_sum(points_);

  magnitudes_.reserve(points_.size());
  size_t up = 0;
  while (up < points_.size() && points_[up].high <= 0 && points_[up].low < 0) ++up;
  for (size_t down = up; down > 0 || up < points_.size();) {
    const bool has_down = down > 0, has_up = up < points_.size();
    if (has_down && has_up && ids[down - 1] == ids[up]) {
      magnitudes_.push_back(united(mirrored(points_[--down]), points_[up++]));
    } else if (has_down && (!has_up || ids[down - 1] < ids[up])) {
      magnitudes_.push_back(mirrored(points_[--down]));
    } else {
      magnitudes_.push_back(points_[up++]);
    }
  }
  magnitude_cumulative_ = running_sum(magnitudes_);
}

double Distribution::quantile(double share) const {
  check_share(share, count_);
  const uint64_t rank = rank_of_share(share, count_);
  if (rank == count_) return max_;
  return rank == 1 ? min_ : value_at_rank(points_, cumulative_, rank);
}

double Distribution::magnitude_quantile(double share) const {
  check_share(share, count_);
  const uint64_t rank = rank_of_share(share, count_);
  if (rank == count_) return std::max(std::abs(min_), std::abs(max_));
  return value_at_rank(magnitudes_, magnitude_cumulative_, rank);
}

uint64_t Distribution::at_or_below(double value) const {
  const auto end = std::ranges::upper_bound(points_, value, {}, &Point::value);
  return end == points_.begin() ? 0 : cumulative_[static_cast<size_t>(end - points_.begin()) - 1];
}

uint64_t Distribution::below(double value) const {
  const auto end = std::ranges::lower_bound(points_, value, {}, &Point::value);
  return end == points_.begin() ? 0 : cumulative_[static_cast<size_t>(end - points_.begin()) - 1];
}

double Distribution::cdf(double value) const {
  if (count_ == 0) return 0;
  return static_cast<double>(at_or_below(value)) / static_cast<double>(count_);
}

double Distribution::outside(double lo, double hi) const {
  if (count_ == 0) return 0;
  const uint64_t out = below(lo) + (count_ - at_or_below(hi));
  return static_cast<double>(out) / static_cast<double>(count_);
}

double Distribution::mean() const {
  double sum = 0;
  for (const Point& p : points_) sum += static_cast<double>(p.count) * p.value;
  return count_ == 0 ? 0 : sum / static_cast<double>(count_);
}

double Distribution::mean_square() const {
  double sum = 0;
  for (const Point& p : points_) {
    // Values spread evenly over [low, high].
    sum += static_cast<double>(p.count) * (p.low * p.low + p.low * p.high + p.high * p.high) / 3;
  }
  return count_ == 0 ? 0 : sum / static_cast<double>(count_);
}

double Distribution::standard_deviation() const {
  const double center = mean();
  double sum = 0;
  for (const Point& p : points_) {
    const double low = p.low - center, high = p.high - center;
    sum += static_cast<double>(p.count) * (low * low + low * high + high * high) / 3;
  }
  return count_ == 0 ? 0 : std::sqrt(sum / static_cast<double>(count_));
}

}  // namespace scute
