// Figures of predicted positions: how large the errors are, and where.
#pragma once

#include <string>
#include <vector>

#include "scute/evaluate/position_error.h"
#include "scute/io/output.h"

namespace scute {

/// One model's predictions for the windows of a PositionSet; the first of several is the
/// reference, float.
struct PositionStage {
  std::string name;
  Tensor predicted;  ///< n × 2, f32, metres
};

struct PositionPlotOptions {
  double zoom = 0.5;  ///< right end of the enlarged CDF, metres; > 0
  /// Lines are broken where the true position jumps by more, metres. 0: by five times the median
  /// jump, at least 0.05 m, which suits windows that are several frames apart.
  double break_jump = 0;
  double cell = 0;  ///< edge of the map's cells, metres; 0: by the extent and number of windows
};

/// Each is a whole SVG file; the same input gives the same bytes. Error without stages or windows,
/// or when a stage is not n × 2. Errors that are no numbers are counted in a remark, not drawn.

/// Share of the windows with at most that error, up to `largest` metres; 0: all.
std::string error_cdf_svg(const PositionSet& set, const std::vector<PositionStage>& stages,
                          double largest = 0);
/// 50 bins from 0 to the largest error.
std::string error_histogram_svg(const PositionSet& set, const std::vector<PositionStage>& stages);
/// The true path and the predicted ones, both axes at one scale.
std::string path_svg(const PositionSet& set, const std::vector<PositionStage>& stages,
                     const PositionPlotOptions& options = {});
/// Mean error of the windows whose true position is in a cell, one map a stage, one scale for all.
std::string error_map_svg(const PositionSet& set, const std::vector<PositionStage>& stages,
                          const PositionPlotOptions& options = {});

/// A figure and the file it belongs into.
struct PositionPlot {
  std::string file, svg;
};
/// cdf.svg, cdf_zoom.svg, err_hist.svg, pred_vs_true.svg, error_heatmap.svg.
std::vector<PositionPlot> position_plots(const PositionSet& set,
                                         const std::vector<PositionStage>& stages,
                                         const PositionPlotOptions& options = {});
std::vector<std::string> position_plot_names();
/// Writes them into `dir`, made when missing; each file is atomic. Error, too, when `replace` does
/// not cover a file that is there (OutputFile).
void write_position_plots(const std::string& dir, const PositionSet& set,
                          const std::vector<PositionStage>& stages,
                          const PositionPlotOptions& options = {},
                          Replace replace = Replace::anything);

}  // namespace scute
