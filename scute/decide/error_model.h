// Expected squared error of rounding what a distribution holds to a grid.
#pragma once

#include <cstddef>
#include <vector>

#include "scute/observe/distribution.h"
#include "scute/quantize/grid.h"

namespace scute {

/// Values are taken as spread evenly over their buckets (exact where buckets are single values);
/// the rounding error is integrated over each bucket in closed form, whether the grid is coarser or
/// finer than the bucket. One grid costs the buckets between half a step and the clip only (about
/// 20 µs): what rounds to zero and what is clipped comes from running sums.
class ErrorModel {
 public:
  explicit ErrorModel(const Distribution& distribution);

  /// Mean squared error of Grid::round; 0 without values.
  double error(const Grid& grid) const;
  /// Signal to noise at this grid: 10·log10(mean square / error), infinite without error.
  double sqnr(const Grid& grid) const { return sqnr_of(error(grid)); }
  double sqnr_of(double error) const;
  double mean_square() const { return mean_square_; }

 private:
  /// The values of one sign by magnitude, ascending.
  struct Side {
    std::vector<double> low, high, count;
    std::vector<double> square_below;  ///< [i]: Σ count·E[x²] of buckets before i, not divided
    /// [i]: Σ count, Σ count·E[x] and Σ count·E[x²] of buckets i and after.
    std::vector<double> count_from, sum_from, square_from;

    void add(double low_, double high_, double count_);
    void finish();
    /// Sum of squared errors for `steps` codes of width `scale` beyond zero.
    double error(double scale, double steps) const;
    double clipped_error(size_t first, double bound) const;
  };

  Side negative_, positive_;
  double total_ = 0, mean_square_ = 0;
};

}  // namespace scute
