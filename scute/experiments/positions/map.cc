#include "scute/experiments/positions/map.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <map>
#include <utility>

#include "scute/base/error.h"
#include "scute/experiments/positions/svg.h"

namespace scute {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

/// From small to large errors, of steadily rising brightness; either paper leaves both ends seen.
constexpr std::array<std::array<double, 3>, 6> kColours = {
    {{58, 50, 120}, {48, 98, 158}, {40, 145, 145}, {82, 182, 108}, {176, 208, 72}, {250, 224, 60}}};

std::string colour(double share) {
  const double at = std::clamp(share, 0.0, 1.0) * (kColours.size() - 1);
  const size_t below = std::min(static_cast<size_t>(at), kColours.size() - 2);
  const double part = at - static_cast<double>(below);
  std::string out = "#";
  for (size_t c = 0; c < 3; ++c) {
    const double mixed = kColours[below][c] * (1 - part) + kColours[below + 1][c] * part;
    out += fmt::format("{:02x}", static_cast<int>(std::lround(mixed)));
  }
  return out;
}

struct Cell {
  double sum = 0;
  int64_t windows = 0;
  double mean() const { return sum / static_cast<double>(windows); }
};
/// By column and row: cell (i, j) is [i c, (i + 1) c) × [j c, (j + 1) c).
using Cells = std::map<std::pair<int64_t, int64_t>, Cell>;

Cells cells_of(const PositionSet& set, const PositionStage& stage, double edge) {
  const MatView<const float> actual = set.actual.matrix<float>();
  const std::vector<float> errors = position_errors(stage.predicted.matrix<float>(), actual);
  Cells out;
  for (int64_t r = 0; r < actual.rows; ++r) {
    const float error = errors[static_cast<size_t>(r)];
    if (!std::isfinite(error)) continue;
    const auto index = [&](int64_t column) {
      return static_cast<int64_t>(std::floor(double{actual.row(r)[column]} / edge));
    };
    Cell& cell = out[{index(0), index(1)}];
    cell.sum += double{error};
    ++cell.windows;
  }
  return out;
}

/// Some √n cells along the longer side, 8 to 40: a few windows in each.
double automatic_edge(double side, int64_t windows) {
  return tick_step(side, std::clamp(1.5 * std::sqrt(static_cast<double>(windows)), 8.0, 40.0));
}

/// Widened to the edges of cells.
Extent whole_cells(Extent extent, double edge) {
  for (Extent::Side* s : {&extent.x, &extent.y}) {
    s->low = std::floor(s->low / edge) * edge;
    s->high = (std::floor(s->high / edge) + 1) * edge;
  }
  return extent;
}

void draw_cells(Svg& svg, const Cells& cells, const SvgPanel& panel, double edge, double largest) {
  for (const auto& [at, cell] : cells) {
    const double x = static_cast<double>(at.first) * edge;
    const double y = static_cast<double>(at.second) * edge;
    const SvgBox box{panel.px(x), panel.py(y + edge), panel.px(x + edge) - panel.px(x),
                     panel.py(y) - panel.py(y + edge)};
    svg.cell(box, colour(cell.mean() / largest),
             fmt::format("x {0:.4g} … {1:.4g} m, y {2:.4g} … {3:.4g} m: mean error {4:.1f} mm, {5} "
                         "window{6}",
                         x, x + edge, y, y + edge, 1e3 * cell.mean(), cell.windows,
                         cell.windows == 1 ? "" : "s"));
  }
}

/// The colours' scale, from 0 at the bottom.
void draw_bar(Svg& svg, const SvgBox& box, double largest) {
  constexpr int kSteps = 64;
  const double step = box.height / kSteps;
  for (int i = 0; i < kSteps; ++i) {
    // Half a pixel more than the step, so that no paper shows between two.
    svg.cell({box.left, box.top + box.height - step * (i + 1), box.width, step + (i > 0 ? 0.5 : 0)},
             colour((i + 0.5) / kSteps), "");
  }
  const double tick = tick_step(largest, std::max(2.0, box.height / 34));
  for (double value = 0; value <= largest * (1 + 1e-9); value += tick) {
    svg.text(box.left + box.width + 7, box.top + box.height * (1 - value / largest) + 4,
             tick_text(value, tick));
  }
  svg.text(box.left, box.top - 10, "mean error (m)", "muted");
}

void include(Extent::Side& side, double value) {
  side.low = std::min(side.low, value);
  side.high = std::max(side.high, value);
}

void add_margin(Extent& extent) {
  double side = std::max(extent.x.high - extent.x.low, extent.y.high - extent.y.low);
  if (!(side > 0)) side = 1;  // one place: a metre around it
  for (Extent::Side* s : {&extent.x, &extent.y}) {
    s->low -= 0.04 * side;
    s->high += 0.04 * side;
  }
}

Extent tight_extent(const PositionSet& set) {
  const MatView<const float> actual = set.actual.matrix<float>();
  Extent out{{kInfinity, -kInfinity}, {kInfinity, -kInfinity}};
  for (int64_t r = 0; r < actual.rows; ++r) {
    include(out.x, double{actual.row(r)[0]});
    include(out.y, double{actual.row(r)[1]});
  }
  return out;
}

}  // namespace

void check_stages(const PositionSet& set, const std::vector<PositionStage>& stages) {
  const MatView<const float> actual = set.actual.matrix<float>();
  if (stages.empty() || actual.rows == 0) {
    fail("figures of positions", "windows and a stage that predicted them",
         stages.empty() ? "no stage" : "no window");
  }
  for (int64_t i = 0; i < actual.size(); ++i) {
    if (!std::isfinite(set.actual.values<float>()[static_cast<size_t>(i)])) {
      fail("figures of positions", "true positions that are numbers",
           fmt::format("none in window {}", i / 2));
    }
  }
  for (const PositionStage& stage : stages) {
    position_errors(stage.predicted.matrix<float>(), actual);  // fails for another size
  }
  for (const PositionSet::Part& part : set.parts) {
    if (part.first < 0 || part.count < 0 || part.first > actual.rows - part.count) {
      fail(part.name, fmt::format("windows of 0 … {}", actual.rows - 1),
           fmt::format("{} from {} on", part.count, part.first));
    }
  }
}

Extent true_extent(const PositionSet& set) {
  Extent out = tight_extent(set);
  add_margin(out);
  return out;
}

Extent drawn_extent(const PositionSet& set, const std::vector<PositionStage>& stages) {
  const Extent actual = true_extent(set);
  const double reach = std::max(actual.x.high - actual.x.low, actual.y.high - actual.y.low);
  const auto inside = [reach](const Extent::Side& side, float value) {
    return double{value} >= side.low - reach && double{value} <= side.high + reach;
  };
  Extent out = tight_extent(set);
  for (const PositionStage& stage : stages) {
    const MatView<const float> points = stage.predicted.matrix<float>();
    for (int64_t r = 0; r < points.rows; ++r) {
      const float* p = points.row(r);
      if (inside(actual.x, p[0]) && inside(actual.y, p[1])) {
        include(out.x, double{p[0]});
        include(out.y, double{p[1]});
      } else {
        ++out.outside;
      }
    }
  }
  add_margin(out);
  return out;
}

std::string error_map_svg(const PositionSet& set, const std::vector<PositionStage>& stages,
                          const PositionPlotOptions& options) {
  check_stages(set, stages);
  Extent extent = true_extent(set);
  const double side = std::max(extent.x.high - extent.x.low, extent.y.high - extent.y.low);
  // At most 1000 cells along a side, however small one was asked for.
  const double edge = options.cell > 0 ? std::max(options.cell, side / 1000)
                                       : automatic_edge(side, set.actual.dim(0));
  extent = whole_cells(tight_extent(set), edge);
  std::vector<Cells> maps;
  double largest = 0;
  for (const PositionStage& stage : stages) {
    maps.push_back(cells_of(set, stage, edge));
    for (const auto& [at, cell] : maps.back()) largest = std::max(largest, cell.mean());
  }
  if (!(largest > 0)) largest = 1;
  constexpr double kBar = 110;
  const size_t columns = std::min<size_t>(3, stages.size());
  const double place = columns == 1 ? 640 : columns == 2 ? 420 : 330;
  Svg svg(place * static_cast<double>(columns) + kBar);
  double top = svg.heading("Mean error by place", fmt::format("cells of {:.4g} m", edge)) + 22;
  double bar_top = top, bar_height = 0;
  for (size_t first = 0; first < stages.size(); first += columns) {
    double bottom = top;
    for (size_t k = first; k < std::min(first + columns, stages.size()); ++k) {
      const SvgPanel panel = equal_panel(
          {68 + place * static_cast<double>(k - first), top, place - 92, 0},
          {"x (m)", extent.x.low, extent.x.high}, {"y (m)", extent.y.low, extent.y.high}, 180, 640);
      svg.text(panel.box.left, top - 10, stages[k].name, "strong");
      svg.axes(panel);
      draw_cells(svg, maps[k], panel, edge, largest);
      bottom = std::max(bottom, top + panel.box.height);
    }
    if (first == 0) bar_height = bottom - bar_top;
    top = bottom + 84;
  }
  draw_bar(svg, {svg.width() - kBar + 10, bar_top, 16, bar_height}, largest);
  return svg.finish(top - 32, "Mean error by place");
}

}  // namespace scute
