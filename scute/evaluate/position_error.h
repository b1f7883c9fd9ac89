// How far predicted positions are from the true ones, in both definitions of this field.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "scute/tensor/tensor.h"

namespace scute {

/// Windows that were scored: their true positions, sequence after sequence.
struct PositionSet {
  /// The windows of one sequence.
  struct Part {
    std::string name;      ///< of the sequence
    int64_t first, count;  ///< its windows
  };
  Tensor actual;            ///< n × 2, f32, metres
  std::vector<Part> parts;  ///< cover 0 … n − 1 in order
};

/// Statistics of the errors e = √(Δx² + Δy²) of n windows, metres. The two definitions of a
/// percentile differ in the fourth digit. One NaN among the predictions makes every figure NaN.
struct PositionErrors {
  int64_t count = 0;
  double mean = 0, standard_error = 0;  ///< of the mean: deviation / √n; NaN for one window
  double largest = 0;
  /// NumPy's: linear between the two nearest ranks (what val_preds.npz holds).
  struct {
    double median = 0, p80 = 0, p90 = 0;
  } linear;
  /// The training loop's: the lower median and the ⌊0.8 n⌋-th and ⌊0.9 n⌋-th smallest, counted from
  /// 1 (at least the first).
  struct {
    double median = 0, p80 = 0, p90 = 0;
  } rank;
  double mae_x = 0, mae_y = 0;  ///< mean |Δx|, |Δy|
  double huber = 0;             ///< mean over both coordinates of Huber's loss, δ = 1
};

/// Errors one by one, metres, computed in f32 as NumPy does for f32 arrays. Error when the two are
/// not both n × 2.
std::vector<float> position_errors(MatView<const float> predicted, MatView<const float> actual);
/// predicted, actual: n × 2. Error when they differ in size or n is 0.
PositionErrors measure(MatView<const float> predicted, MatView<const float> actual);

/// Two models on the same windows, window by window. Standard errors are NaN where all differ by
/// the same, as for one window.
struct PositionComparison {
  double ratio = 1;  ///< mean error over that of the reference; NaN or infinite where that is 0
  double ratio_standard_error = 0;            ///< paired, by the delta method
  double difference = 0, standard_error = 0;  ///< of the mean errors, paired, metres
  double rms_deviation = 0;  ///< √(mean |Δ|²) between the two predictions, metres
  double mean_deviation = 0, largest_deviation = 0;  ///< |Δ| between the two predictions, metres
};
/// All n × 2. Error when they differ in size or n is 0.
PositionComparison compare(MatView<const float> predicted, MatView<const float> reference,
                           MatView<const float> actual);

/// The smallest step that counts as a grid, metres. Rounding both coordinates to steps of s moves
/// a position by s/√6 in root mean square: 0.2 mm here, a fifth of what INT16 may deviate from
/// float (1 mm). Finer steps are harmless and common: 0.15 mm of an INT16 output, 2⁻¹² m of INT8
/// inputs in 1/16 and weights in 1/256; 1/256 m, what Q8.8 outputs stand on, is eight times it.
constexpr double kSmallestGridStep = 0.5e-3;
/// Fewer windows than this may stand on a grid by chance.
constexpr int64_t kFewestGridWindows = 16;

/// Predictions that stand on a grid: too few fractional bits at the output.
struct OutputGrid {
  int64_t distinct_x = 0, distinct_y = 0;  ///< different values among n; numbers only
  /// Metres: between neighbouring points of the grid where a coordinate stands on one, else the
  /// smallest distance of two different values; 0: one value.
  double step_x = 0, step_y = 0;
  /// Whether in both coordinates every value is a multiple of a step of at least kSmallestGridStep
  /// (plus one offset) within 1 % of it, or there is but one value. Never so for fewer than
  /// kFewestGridWindows windows with numbers.
  bool grid = false;
};
/// predicted: n × 2, else Error.
OutputGrid find_grid(MatView<const float> predicted);

}  // namespace scute
