#include "scute/decide/error_model.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "scute/base/portable_math.h"

namespace scute {
namespace {

/// Nearest whole number, halves to even, for |x| < 2^51.
double whole(double x) { return (x + 0x1.8p52) - 0x1.8p52; }

/// Mean of x² for x even over [a, b].
double mean_square_between(double a, double b) { return (a * a + a * b + b * b) / 3; }

/// Mean of (x − round(x))² for x even over [a, b], a ≤ b. Sums of positive terms only, so that
/// narrow intervals lose no digits: the part up to the first rounding border, whole periods (1/12
/// each), the part after the last border.
double mean_rounding_error(double a, double b) {
  const double nearest_a = whole(a), nearest_b = whole(b);
  const double from_a = a - nearest_a, from_b = b - nearest_b;
  if (nearest_a == nearest_b) return mean_square_between(from_a, from_b);
  const double first = 0.5 - from_a, last = from_b + 0.5, periods = nearest_b - nearest_a - 1;
  const double sum = first * mean_square_between(from_a, 0.5) + periods / 12 +
                     last * mean_square_between(-0.5, from_b);
  return sum / (first + periods + last);
}

}  // namespace

void ErrorModel::Side::add(double low_, double high_, double count_) {
  low.push_back(low_);
  high.push_back(high_);
  count.push_back(count_);
}

void ErrorModel::Side::finish() {
  const size_t n = count.size();
  square_below.resize(n + 1);
  count_from.resize(n + 1);
  sum_from.resize(n + 1);
  square_from.resize(n + 1);
  for (size_t i = 0; i < n; ++i) {
    square_below[i + 1] = square_below[i] + count[i] * mean_square_between(low[i], high[i]);
  }
  for (size_t i = n; i-- > 0;) {
    count_from[i] = count_from[i + 1] + count[i];
    sum_from[i] = sum_from[i + 1] + count[i] * (low[i] + high[i]) / 2;
    square_from[i] = square_from[i + 1] + count[i] * mean_square_between(low[i], high[i]);
  }
}

double ErrorModel::Side::clipped_error(size_t first, double bound) const {
  const double sum =
      square_from[first] - 2 * bound * sum_from[first] + bound * bound * count_from[first];
  return std::max(sum, 0.0);
}

double ErrorModel::Side::error(double scale, double steps) const {
  if (count.empty()) return 0;
  if (steps == 0) return square_from[0];
  const double bound = scale * steps;
  // Entirely below half a step: rounds to zero. high ascends with low.
  const auto start = static_cast<size_t>(std::ranges::upper_bound(high, scale / 2) - high.begin());
  double sum = 0;
  size_t i = start;
  const double per_step = 1 / scale;
  for (; i < count.size() && high[i] <= bound; ++i) {
    sum += count[i] * mean_rounding_error(low[i] * per_step, high[i] * per_step);
  }
  sum *= scale * scale;
  if (i < count.size() && low[i] < bound) {
    // The bucket that holds the bound: rounding below it, clipping above.
    const double inside = (bound - low[i]) / (high[i] - low[i]);
    const double over = high[i] - bound;
    sum += count[i] * (inside * scale * scale * mean_rounding_error(low[i] * per_step, steps) +
                       (1 - inside) * over * over / 3);
    ++i;
  }
  return square_below[start] + sum + clipped_error(i, bound);
}

ErrorModel::ErrorModel(const Distribution& distribution)
    : total_(static_cast<double>(distribution.count())), mean_square_(distribution.mean_square()) {
  const auto& points = distribution.points();
  for (Side* side : {&negative_, &positive_}) {
    for (auto* column : {&side->low, &side->high, &side->count}) column->reserve(points.size());
  }
  size_t first = 0;
  while (first < points.size() && points[first].low < 0) ++first;
  for (size_t i = first; i-- > 0;) {
    negative_.add(-points[i].high, -points[i].low, static_cast<double>(points[i].count));
  }
  for (size_t i = first; i < points.size(); ++i) {
    positive_.add(points[i].low, points[i].high, static_cast<double>(points[i].count));
  }
  negative_.finish();
  positive_.finish();
}

double ErrorModel::error(const Grid& grid) const {
  if (total_ == 0) return 0;
  const auto scale = static_cast<double>(grid.scale);
  const double below = grid.zero - grid.spec.lowest(), above = grid.spec.highest() - grid.zero;
  return (negative_.error(scale, below) + positive_.error(scale, above)) / total_;
}

double ErrorModel::sqnr_of(double error) const {
  if (error <= 0) return std::numeric_limits<double>::infinity();
  return 10 * portable::log10(mean_square_ / error);
}

}  // namespace scute
