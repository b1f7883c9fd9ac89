#include "scute/evaluate/position_error.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <span>

#include "scute/base/error.h"
#include "scute/evaluate/perplexity.h"

namespace scute {
namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

void check_positions(MatView<const float> predicted, MatView<const float> actual) {
  if (predicted.cols != 2 || actual.cols != 2 || predicted.rows != actual.rows) {
    fail("positions", fmt::format("{} × 2 predictions, one for each true position", actual.rows),
         fmt::format("{} × {} for {} × {}", predicted.rows, predicted.cols, actual.rows,
                     actual.cols));
  }
}

void check_some(MatView<const float> actual) {
  if (actual.rows == 0) fail("positions", "at least one window to score", "none");
}

/// Distances of two lists of positions.
std::vector<double> distances(MatView<const float> a, MatView<const float> b) {
  std::vector<double> out(static_cast<size_t>(a.rows));
  for (int64_t r = 0; r < a.rows; ++r) {
    out[static_cast<size_t>(r)] = std::hypot(double{a.row(r)[0]} - double{b.row(r)[0]},
                                             double{a.row(r)[1]} - double{b.row(r)[1]});
  }
  return out;
}

/// As mean_and_error, but summed in order and then divided.
MeanAndError summary(std::span<const double> items) {
  double sum = 0;
  for (const double x : items) sum += x;
  const auto n = static_cast<double>(items.size());
  return {sum / n, mean_and_error(items).standard_error};
}

/// NumPy's linear percentile of sorted values: rank q (n − 1), counted from 0.
double linear_percentile(std::span<const float> sorted, double q) {
  const double rank = q * static_cast<double>(sorted.size() - 1);
  const double below = std::floor(rank), part = rank - below;
  const auto at = static_cast<size_t>(below);
  if (part == 0) return double{sorted[at]};
  return double{sorted[at]} + (double{sorted[at + 1]} - double{sorted[at]}) * part;
}

/// The k-th smallest for k = ⌊tenths n / 10⌋, at least 1.
double ranked(std::span<const float> sorted, size_t tenths) {
  return double{sorted[std::max<size_t>(1, sorted.size() * tenths / 10) - 1]};
}

void fill_percentiles(std::vector<float> errors, PositionErrors& out) {
  // NaN has no rank, and sorting with it is undefined.
  if (std::ranges::any_of(errors, [](float e) { return std::isnan(e); })) {
    out.largest = kNaN;
    out.linear = {kNaN, kNaN, kNaN};
    out.rank = {kNaN, kNaN, kNaN};
    return;
  }
  std::ranges::sort(errors);
  out.largest = double{errors.back()};
  out.linear = {linear_percentile(errors, 0.5), linear_percentile(errors, 0.8),
                linear_percentile(errors, 0.9)};
  out.rank = {double{errors[(errors.size() - 1) / 2]}, ranked(errors, 8), ranked(errors, 9)};
}

/// Huber's loss with δ = 1.
double huber(double difference) {
  const double size = std::abs(difference);
  return size <= 1 ? 0.5 * size * size : size - 0.5;
}

/// Different values that are numbers, sorted.
std::vector<double> distinct_values(MatView<const float> predicted, int64_t column) {
  std::vector<double> out;
  for (int64_t r = 0; r < predicted.rows; ++r) {
    const float value = predicted.row(r)[column];
    if (std::isfinite(value)) out.push_back(double{value});
  }
  std::ranges::sort(out);
  out.erase(std::unique(out.begin(), out.end()), out.end());
  return out;
}

int64_t windows_with_numbers(MatView<const float> predicted) {
  int64_t out = 0;
  for (int64_t r = 0; r < predicted.rows; ++r) {
    out += std::isfinite(predicted.row(r)[0]) && std::isfinite(predicted.row(r)[1]) ? 1 : 0;
  }
  return out;
}

double smallest_gap(std::span<const double> sorted) {
  double out = sorted.size() < 2 ? 0 : std::numeric_limits<double>::infinity();
  for (size_t i = 1; i < sorted.size(); ++i) out = std::min(out, sorted[i] - sorted[i - 1]);
  return out;
}

/// The step near `step` of the grid that all values stand on within 1 % of it; 0 when they do not.
/// f32 rounds a value near 4 m by up to 0.24 µm, 0.006 % of a step of 1/256 m, which a thousand
/// steps further would be 6 %: hence gap by gap to count steps, and the whole extent to measure
/// one.
double fitted_step(std::span<const double> sorted, double step) {
  std::vector<double> index(sorted.size(), 0);
  for (size_t i = 1; i < sorted.size(); ++i) {
    index[i] = index[i - 1] + std::round((sorted[i] - sorted[i - 1]) / step);
  }
  const double fitted = (sorted.back() - sorted.front()) / index.back();
  for (size_t i = 0; i < sorted.size(); ++i) {
    const double off = sorted[i] - sorted.front() - index[i] * fitted;
    if (std::abs(off) > 0.01 * fitted) return 0;
  }
  return fitted;
}

/// The grid one coordinate stands on; its step is 0 when there is none.
double grid_step(std::span<const double> sorted) {
  const double gap = smallest_gap(sorted);
  // With few values no two may be neighbours on the grid: the gap is then several steps.
  for (int steps = 1; steps <= 4 && gap / steps >= 0.99 * kSmallestGridStep; ++steps) {
    const double step = fitted_step(sorted, gap / steps);
    if (step >= kSmallestGridStep) return step;
  }
  return 0;
}

}  // namespace

std::vector<float> position_errors(MatView<const float> predicted, MatView<const float> actual) {
  check_positions(predicted, actual);
  std::vector<float> out(static_cast<size_t>(actual.rows));
  for (int64_t r = 0; r < actual.rows; ++r) {
    const float dx = predicted.row(r)[0] - actual.row(r)[0];
    const float dy = predicted.row(r)[1] - actual.row(r)[1];
    out[static_cast<size_t>(r)] = std::sqrt(dx * dx + dy * dy);
  }
  return out;
}

PositionErrors measure(MatView<const float> predicted, MatView<const float> actual) {
  std::vector<float> errors = position_errors(predicted, actual);
  check_some(actual);
  PositionErrors out;
  out.count = actual.rows;
  const MeanAndError mean = summary(std::vector<double>(errors.begin(), errors.end()));
  out.mean = mean.mean;
  out.standard_error = mean.standard_error;
  for (int64_t r = 0; r < actual.rows; ++r) {
    const double dx = double{predicted.row(r)[0]} - double{actual.row(r)[0]};
    const double dy = double{predicted.row(r)[1]} - double{actual.row(r)[1]};
    out.mae_x += std::abs(dx);
    out.mae_y += std::abs(dy);
    out.huber += huber(dx) + huber(dy);
  }
  const auto n = static_cast<double>(actual.rows);
  out.mae_x /= n;
  out.mae_y /= n;
  out.huber /= 2 * n;
  fill_percentiles(std::move(errors), out);
  return out;
}

PositionComparison compare(MatView<const float> predicted, MatView<const float> reference,
                           MatView<const float> actual) {
  const std::vector<float> errors = position_errors(predicted, actual);
  const std::vector<float> others = position_errors(reference, actual);
  check_some(actual);
  const std::vector<double> e(errors.begin(), errors.end()), r(others.begin(), others.end());
  const double reference_mean = summary(r).mean;
  PositionComparison out;
  out.ratio = summary(e).mean / reference_mean;
  std::vector<double> differences, residuals;
  for (size_t i = 0; i < e.size(); ++i) {
    differences.push_back(e[i] - r[i]);
    residuals.push_back(e[i] - out.ratio * r[i]);
  }
  const MeanAndError difference = summary(differences);
  out.difference = difference.mean;
  out.standard_error = mean_and_error(differences).standard_error;
  // ē/r̄ to first order: its error is that of the mean of e − ratio·r, over r̄.
  out.ratio_standard_error = mean_and_error(residuals).standard_error / reference_mean;
  double squares = 0;
  const std::vector<double> moved = distances(predicted, reference);
  for (const double d : moved) {
    squares += d * d;
    out.largest_deviation = std::max(out.largest_deviation, d);
  }
  if (std::isnan(squares)) out.largest_deviation = kNaN;
  out.rms_deviation = std::sqrt(squares / static_cast<double>(moved.size()));
  out.mean_deviation = summary(moved).mean;
  return out;
}

OutputGrid find_grid(MatView<const float> predicted) {
  if (predicted.cols != 2) {
    fail("positions", "two columns, x and y", fmt::format("{}", predicted.cols));
  }
  const std::vector<double> x = distinct_values(predicted, 0), y = distinct_values(predicted, 1);
  OutputGrid out;
  out.distinct_x = static_cast<int64_t>(x.size());
  out.distinct_y = static_cast<int64_t>(y.size());
  const double x_step = grid_step(x), y_step = grid_step(y);
  out.step_x = x_step > 0 ? x_step : smallest_gap(x);
  out.step_y = y_step > 0 ? y_step : smallest_gap(y);
  const bool on_x = x_step > 0 || x.size() == 1, on_y = y_step > 0 || y.size() == 1;
  out.grid = windows_with_numbers(predicted) >= kFewestGridWindows && on_x && on_y;
  return out;
}

}  // namespace scute
