// Questions to a statistic: quantiles, shares, moments.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "scute/observe/statistic.h"

namespace scute {

/// The smallest rank, counted from 1, with at least `share` of n values at or below it:
/// ceil(share·n) where `share` is known to 2^−50 only, so that 0.9995 of 2000 is 1999 although the
/// double 0.9995 is a little more. share in [0, 1], n in [1, 2^63).
uint64_t rank_of_share(double share, uint64_t n);

/// A read-only summary for queries: finite values in ascending order with cumulative counts, built
/// once (about 0.1 ms), asked often.
class Distribution {
 public:
  explicit Distribution(const Statistic& statistic);

  /// One bucket that is not empty.
  struct Point {
    double value;      ///< representative: bucket middle, or its edge when exact; within [min, max]
    uint64_t count;    ///< values in this bucket
    double low, high;  ///< where they lie: the bucket cut to [min, max]; low = high when exact
  };
  const std::vector<Point>& points() const { return points_; }
  const std::vector<Point>& magnitudes() const { return magnitudes_; }  ///< the same for |x|
  uint64_t count() const { return count_; }
  double min() const { return min_; }
  double max() const { return max_; }

  /// Smallest value with at least `share` of the values at or below it (inverted cdf), share in
  /// [0, 1]; 0 gives min, 1 gives max. Error when nothing finite was seen.
  double quantile(double share) const;
  /// The same of |x|.
  double magnitude_quantile(double share) const;
  /// Share of values at or below `value` (buckets counted by their representative); 0 without any.
  double cdf(double value) const;
  /// Share of values strictly outside [lo, hi] (buckets counted by their representative).
  double outside(double lo, double hi) const;
  double mean() const;
  double standard_deviation() const;
  double mean_square() const;

 private:
  uint64_t at_or_below(double value) const;
  uint64_t below(double value) const;

  std::vector<Point> points_, magnitudes_;
  std::vector<uint64_t> cumulative_, magnitude_cumulative_;
  uint64_t count_ = 0;
  double min_ = 0, max_ = 0;
};

}  // namespace scute
