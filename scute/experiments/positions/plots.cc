#include "scute/experiments/positions/plots.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <filesystem>
#include <iterator>

#include "scute/base/error.h"
#include "scute/experiments/positions/map.h"
#include "scute/experiments/positions/svg.h"
#include "scute/io/file.h"

namespace scute {
namespace {

constexpr std::array<const char*, 5> kPlotNames{"cdf.svg", "cdf_zoom.svg", "err_hist.svg",
                                                "pred_vs_true.svg", "error_heatmap.svg"};

constexpr double kWidth = 620, kHeight = 300;  // pixels: of a figure, and of its plot
constexpr size_t kBins = 50;

/// The errors of one stage that are numbers, sorted.
struct Errors {
  std::vector<float> sorted;
  size_t windows = 0;
};

std::vector<Errors> errors_of(const PositionSet& set, const std::vector<PositionStage>& stages) {
  check_stages(set, stages);
  std::vector<Errors> out;
  for (const PositionStage& stage : stages) {
    std::vector<float> errors =
        position_errors(stage.predicted.matrix<float>(), set.actual.matrix<float>());
    const size_t windows = errors.size();
    std::erase_if(errors, [](float e) { return !std::isfinite(e); });
    std::ranges::sort(errors);
    out.push_back({std::move(errors), windows});
  }
  return out;
}

/// "140 windows; int8: 3 not finite, not drawn".
std::string windows_remark(const std::vector<PositionStage>& stages,
                           const std::vector<Errors>& errors) {
  std::string out = fmt::format("{} windows", errors[0].windows);
  for (size_t k = 0; k < stages.size(); ++k) {
    const size_t lost = errors[k].windows - errors[k].sorted.size();
    if (lost > 0) out += fmt::format("; {}: {} not finite, not drawn", stages[k].name, lost);
  }
  return out;
}

double largest_of(const std::vector<Errors>& errors) {
  float largest = 0;
  for (const Errors& one : errors) {
    if (!one.sorted.empty()) largest = std::max(largest, one.sorted.back());
  }
  return largest > 0 ? double{largest} : 1;
}

/// The step function that rises by 1 / windows at each error.
std::string cdf_line(const Errors& errors, const SvgPanel& panel) {
  SvgLine line;
  const auto n = static_cast<double>(errors.windows);
  line.add(panel.px(panel.x.low), panel.py(0));
  double share = 0;
  for (size_t i = 0; i < errors.sorted.size(); ++i) {
    const double x = panel.px(double{errors.sorted[i]});
    line.add(x, panel.py(share));
    share = 100 * static_cast<double>(i + 1) / n;
    line.add(x, panel.py(share));
  }
  line.add(panel.px(panel.x.high), panel.py(share));
  return line.data();
}

std::vector<Svg::Entry> legend_of(const std::vector<PositionStage>& stages, bool dashed) {
  std::vector<Svg::Entry> out;
  for (size_t k = 0; k < stages.size(); ++k) {
    out.push_back({stages[k].name,
                   dashed ? series_classes(k) + " series" : fmt::format("c{} series", k % 7)});
  }
  return out;
}

std::string bins_outline(const std::vector<size_t>& counts, const SvgPanel& panel) {
  SvgLine line;
  const double width = panel.x.high / static_cast<double>(counts.size());
  line.add(panel.px(0), panel.py(0));
  for (size_t b = 0; b < counts.size(); ++b) {
    const double left = width * static_cast<double>(b),
                 y = panel.py(static_cast<double>(counts[b]));
    line.add(panel.px(left), y);
    line.add(panel.px(left + width), y);
  }
  line.add(panel.px(panel.x.high), panel.py(0));
  return line.data();
}

std::vector<size_t> bin_counts(const Errors& errors, double largest) {
  std::vector<size_t> out(kBins, 0);
  for (const float e : errors.sorted) {
    const auto bin = static_cast<size_t>(double{e} / largest * static_cast<double>(kBins));
    ++out[std::min(bin, kBins - 1)];
  }
  return out;
}

double jump(MatView<const float> actual, int64_t r) {
  return std::hypot(double{actual.row(r)[0]} - double{actual.row(r - 1)[0]},
                    double{actual.row(r)[1]} - double{actual.row(r - 1)[1]});
}

/// Whether a new piece of line begins at each window.
std::vector<bool> breaks_of(const PositionSet& set, double most) {
  const MatView<const float> actual = set.actual.matrix<float>();
  std::vector<bool> out(static_cast<size_t>(actual.rows), false);
  for (const PositionSet::Part& part : set.parts) {
    if (part.count > 0) out.at(static_cast<size_t>(part.first)) = true;
  }
  out[0] = true;
  std::vector<double> jumps;
  for (int64_t r = 1; r < actual.rows; ++r) {
    if (!out[static_cast<size_t>(r)]) jumps.push_back(jump(actual, r));
  }
  if (most <= 0 && !jumps.empty()) {
    const auto middle = jumps.begin() + static_cast<std::ptrdiff_t>(jumps.size() / 2);
    std::nth_element(jumps.begin(), middle, jumps.end());
    most = std::max(0.05, 5 * *middle);
  }
  for (int64_t r = 1; r < actual.rows; ++r) {
    if (jump(actual, r) > most) out[static_cast<size_t>(r)] = true;
  }
  return out;
}

std::string path_line(MatView<const float> points, const std::vector<bool>& breaks,
                      const SvgPanel& panel) {
  SvgLine line;
  for (int64_t r = 0; r < points.rows; ++r) {
    const float* p = points.row(r);
    const bool finite = std::isfinite(p[0]) && std::isfinite(p[1]);
    if (breaks[static_cast<size_t>(r)] || !finite) line.lift();
    if (finite) line.add(panel.px(double{p[0]}), panel.py(double{p[1]}));
  }
  return line.data();
}

}  // namespace

std::string error_cdf_svg(const PositionSet& set, const std::vector<PositionStage>& stages,
                          double largest) {
  const std::vector<Errors> errors = errors_of(set, stages);
  Svg svg(kWidth);
  const std::string title = largest > 0
                                ? fmt::format("Share of windows by error, up to {} m", largest)
                                : "Share of windows by error";
  double top = svg.heading(title, windows_remark(stages, errors));
  top = svg.legend(top, legend_of(stages, true)) + 6;
  const double end = largest > 0 ? largest : largest_of(errors);
  const SvgPanel panel{{68, top, kWidth - 92, kHeight},
                       {"error (m)", 0, end},
                       {"windows with at most this error (%)", 0, 100}};
  svg.axes(panel);
  for (size_t k = stages.size(); k-- > 0;) {  // the reference on top
    svg.path(panel, cdf_line(errors[k], panel), series_classes(k) + " series");
  }
  return svg.finish(top + kHeight + 52, title);
}

std::string error_histogram_svg(const PositionSet& set, const std::vector<PositionStage>& stages) {
  const std::vector<Errors> errors = errors_of(set, stages);
  const double largest = largest_of(errors);
  std::vector<std::vector<size_t>> counts;
  size_t most = 1;
  for (const Errors& one : errors) {
    counts.push_back(bin_counts(one, largest));
    most = std::max(most, *std::ranges::max_element(counts.back()));
  }
  Svg svg(kWidth);
  double top = svg.heading("Histogram of errors",
                           windows_remark(stages, errors) +
                               fmt::format("; {} bins of {:.3g} mm", kBins, 1e3 * largest / 50));
  top = svg.legend(top, legend_of(stages, true)) + 6;
  const SvgPanel panel{{68, top, kWidth - 92, kHeight},
                       {"error (m)", 0, largest},
                       {"windows", 0, 1.06 * static_cast<double>(most)}};
  svg.axes(panel);
  for (size_t k = stages.size(); k-- > 0;) {
    const std::string outline = bins_outline(counts[k], panel);
    if (k == 0) svg.path(panel, outline, "f0 area");
    svg.path(panel, outline, series_classes(k) + " series");
  }
  return svg.finish(top + kHeight + 52, "Histogram of errors");
}

std::string path_svg(const PositionSet& set, const std::vector<PositionStage>& stages,
                     const PositionPlotOptions& options) {
  check_stages(set, stages);
  const std::vector<bool> breaks = breaks_of(set, options.break_jump);
  const Extent extent = drawn_extent(set, stages);
  Svg svg(kWidth);
  std::string remark =
      fmt::format("{} windows of {} sequences", set.actual.dim(0), set.parts.size());
  if (extent.outside > 0)
    remark +=
        fmt::format("; {} prediction{} outside", extent.outside, extent.outside == 1 ? "" : "s");
  double top = svg.heading("True and predicted path", remark);
  std::vector<Svg::Entry> entries = legend_of(stages, false);
  entries.insert(entries.begin(), {"true", "truth"});
  top = svg.legend(top, entries) + 6;
  const SvgPanel panel =
      equal_panel({68, top, kWidth - 92, 0}, {"x (m)", extent.x.low, extent.x.high},
                  {"y (m)", extent.y.low, extent.y.high}, 240, 520);
  svg.axes(panel);
  svg.path(panel, path_line(set.actual.matrix<float>(), breaks, panel), "truth");
  for (size_t k = stages.size(); k-- > 0;) {
    svg.path(panel, path_line(stages[k].predicted.matrix<float>(), breaks, panel),
             fmt::format("c{} thin", k % 7));
  }
  return svg.finish(panel.box.top + panel.box.height + 52, "True and predicted path");
}

std::vector<PositionPlot> position_plots(const PositionSet& set,
                                         const std::vector<PositionStage>& stages,
                                         const PositionPlotOptions& options) {
  return {{kPlotNames[0], error_cdf_svg(set, stages)},
          {kPlotNames[1], error_cdf_svg(set, stages, options.zoom)},
          {kPlotNames[2], error_histogram_svg(set, stages)},
          {kPlotNames[3], path_svg(set, stages, options)},
          {kPlotNames[4], error_map_svg(set, stages, options)}};
}

std::vector<std::string> position_plot_names() { return {kPlotNames.begin(), kPlotNames.end()}; }

void write_position_plots(const std::string& dir, const PositionSet& set,
                          const std::vector<PositionStage>& stages,
                          const PositionPlotOptions& options, Replace replace) {
  const std::vector<PositionPlot> plots = position_plots(set, stages, options);
  make_folder(dir);
  for (const PositionPlot& plot : plots) {
    AtomicFile file((std::filesystem::path(dir) / plot.file).string(), replace);
    file.write(plot.svg);
    file.commit();
  }
}

}  // namespace scute
