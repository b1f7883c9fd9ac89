#include "scute/experiments/positions/page.h"

#include <fmt/format.h>

#include <cmath>
#include <string_view>

#include "scute/base/error.h"
#include "scute/experiments/positions/svg.h"

namespace scute {
namespace {

/// In line with page/report.css; the reader's theme decides, as it does inside of the figures.
constexpr std::string_view kStyle = R"(
:root{color-scheme:light dark;--paper:#f6f7f9;--card:#fff;--ink:#1b2430;--muted:#5a6675;
--line:#dfe4ea;--soft:#eef1f5;--bad:#b3400a;
--mono:ui-monospace,"Cascadia Mono","DejaVu Sans Mono",Menlo,monospace}
@media (prefers-color-scheme:dark){:root{--paper:#12161c;--card:#1a2028;--ink:#e6eaf0;
--muted:#a0acba;--line:#313a46;--soft:#232b35;--bad:#ff9861}}
*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--ink);font:15px/1.55 system-ui,-apple-system,
"Segoe UI",Roboto,"Noto Sans","DejaVu Sans",sans-serif}
header,main{max-width:1640px;margin:0 auto;padding:0 1.5rem}
header{padding-top:1.75rem}
h1{font-size:1.55rem;font-weight:650;letter-spacing:-.015em;margin:0 0 .3rem;
overflow-wrap:anywhere}
h2{font-size:1.2rem;font-weight:650;letter-spacing:-.01em;margin:0 0 .3rem}
header p,.lead{margin:0;color:var(--muted);overflow-wrap:anywhere}
.lead{margin:0 0 1rem;max-width:60rem}
section{background:var(--card);border:1px solid var(--line);border-radius:12px;
padding:1.4rem 1.6rem 1.6rem;margin:1.25rem 0}
.scroll,figure{overflow:auto;max-width:100%;background:linear-gradient(to left,var(--card) 30%,transparent)
100% 0/3rem 100% local no-repeat,linear-gradient(to left,var(--line),transparent) 100% 0/1.2rem 100% scroll
no-repeat}
.scroll{margin-top:1rem}
table{border-collapse:collapse;font-variant-numeric:tabular-nums;width:100%}
caption{text-align:left;font-weight:650;padding:0 0 .4rem}
th,td{text-align:right;padding:.36rem .55rem;border-bottom:1px solid var(--line);
white-space:nowrap}
thead th{font-weight:600;color:var(--muted);font-size:.82rem;vertical-align:bottom}
th.span{text-align:center;border-left:1px solid var(--line);border-right:1px solid var(--line)}
tbody th{font-weight:500}
th:first-child{position:sticky;left:0;background:var(--card)}
th:first-child,td:first-child{text-align:left}thead tr+tr th:first-child{text-align:right}
tbody tr:hover{background:var(--soft)}
.warn{color:var(--bad);margin:.8rem 0 0}
.figures{display:grid;gap:1rem;grid-template-columns:repeat(auto-fit,minmax(min(100%,32rem),1fr))}
figure{margin:0;border:1px solid var(--line);border-radius:8px;align-self:start}
figure.wide{grid-column:1/-1}
figure>svg{display:block;max-width:100%;height:auto;margin:0 auto}
@media (max-width:760px){header,main{padding:0 .75rem}section{padding:1.1rem .9rem}
figure>svg{max-width:none;width:36rem}figure.wide>svg{width:58rem}}
@media print{body{background:none;font-size:11px}section{border:0;padding:0}
figure,tr{break-inside:avoid}.scroll,figure{overflow:visible}figure>svg{max-width:100%;width:auto}}
)";

/// A dash for what is not known.
std::string fixed(double value, int digits) {
  if (!std::isfinite(value)) return "–";
  return fmt::format("{:.{}f}", value, digits);
}

/// "0.05817 ± 0.00249", or the value alone when its error is not known.
std::string with_error(double value, double error, int digits) {
  if (!std::isfinite(error)) return fixed(value, digits);
  return fixed(value, digits) + " ± " + fixed(error, digits);
}

/// The first cell of a row is its name.
std::string row_of(const std::vector<std::string>& cells) {
  std::string out = "<tr>";
  for (size_t i = 0; i < cells.size(); ++i) {
    const std::string_view tag = i == 0 ? "th scope=\"row\"" : "td";
    out += fmt::format("<{}>{}</{}>", tag, escape_markup(cells[i]), tag.substr(0, 2));
  }
  return out + "</tr>\n";
}

std::string header_row(const std::vector<std::string>& cells) {
  std::string out = "<tr>";
  for (const std::string& cell : cells) {
    out += "<th scope=\"col\">" + escape_markup(cell) + "</th>";
  }
  return out + "</tr>\n";
}

std::string table_of(std::string_view caption, std::string_view head, std::string_view body) {
  const std::string named =
      caption.empty() ? "" : "<caption>" + escape_markup(caption) + "</caption>";
  return fmt::format(
      "<div class=\"scroll\"><table>{}<thead>\n{}</thead><tbody>\n{}</tbody></table></div>\n",
      named, head, body);
}

std::vector<std::string> mean_cells(const PositionReport& report, size_t k) {
  const auto actual = report.set.actual.matrix<float>();
  const auto predicted = report.stages[k].predicted.matrix<float>();
  const PositionErrors e = measure(predicted, actual);
  std::vector<std::string> cells = {report.stages[k].name, fmt::format("{}", e.count),
                                    with_error(e.mean, e.standard_error, 5)};
  if (k == 0) {
    cells.insert(cells.end(), {"", ""});
  } else {
    const PositionComparison c =
        compare(predicted, report.stages[0].predicted.matrix<float>(), actual);
    cells.push_back(with_error(c.ratio, c.ratio_standard_error, 4));
    cells.push_back(fixed(1e3 * c.rms_deviation, 2));
  }
  cells.insert(cells.end(), {fixed(e.mae_x, 5), fixed(e.mae_y, 5), fixed(e.largest, 5)});
  return cells;
}

std::string means_head(std::string_view reference) {
  return header_row({"stage", "windows", "mean ± SE (m)",
                     fmt::format("ratio to {} ± SE", reference),
                     fmt::format("RMS deviation from {} (mm)", reference), "mean |Δx| (m)",
                     "mean |Δy| (m)", "largest (m)"});
}

std::vector<std::string> percentile_cells(const PositionReport& report, size_t k) {
  const PositionErrors e =
      measure(report.stages[k].predicted.matrix<float>(), report.set.actual.matrix<float>());
  return {report.stages[k].name,  fixed(e.linear.median, 5), fixed(e.linear.p80, 5),
          fixed(e.linear.p90, 5), fixed(e.rank.median, 5),   fixed(e.rank.p80, 5),
          fixed(e.rank.p90, 5)};
}

/// Two rows: the percentiles stand in groups, named by their definition.
std::string percentiles_head() {
  return "<tr><th rowspan=\"2\" scope=\"col\">stage</th>"
         "<th colspan=\"3\" scope=\"colgroup\" class=\"span\">NumPy: linear between ranks "
         "(m)</th><th colspan=\"3\" scope=\"colgroup\" class=\"span\">training loop: by rank "
         "(m)</th></tr>\n" +
         header_row({"median", "P80", "P90", "lower median", "P80", "P90"});
}

std::string grid_warnings(const PositionReport& report) {
  std::string out;
  for (const PositionStage& stage : report.stages) {
    const OutputGrid grid = find_grid(stage.predicted.matrix<float>());
    if (!grid.grid) continue;
    const std::string text = fmt::format(
        "{}: its predictions stand on a grid of {:.3g} × {:.3g} mm, with {} and {} different "
        "values in {} windows. The output has too few fractional bits.",
        stage.name, 1e3 * grid.step_x, 1e3 * grid.step_y, grid.distinct_x, grid.distinct_y,
        stage.predicted.dim(0));
    out += "<p class=\"warn\">" + escape_markup(text) + "</p>\n";
  }
  return out;
}

std::string stages_section(const PositionReport& report) {
  std::string means, percentiles;
  for (size_t k = 0; k < report.stages.size(); ++k) {
    means += row_of(mean_cells(report, k));
    percentiles += row_of(percentile_cells(report, k));
  }
  return "<section><h2>Stages</h2><p class=\"lead\">Error: distance of the predicted from the true "
         "position. SE: standard error over windows; of a ratio paired, window by window, by the "
         "delta method.</p>\n" +
         table_of("", means_head(report.stages[0].name), means) +
         table_of("Percentiles of the errors, in both definitions", percentiles_head(),
                  percentiles) +
         grid_warnings(report) + "</section>\n";
}

std::string sequences_section(const PositionReport& report) {
  std::vector<std::string> header = {"sequence", "windows"};
  for (const PositionStage& stage : report.stages) header.push_back(stage.name + " (m)");
  std::string rows;
  for (const PositionSet::Part& part : report.set.parts) {
    if (part.count == 0) continue;
    std::vector<std::string> cells = {part.name, fmt::format("{}", part.count)};
    const auto actual = report.set.actual.matrix<float>().slice_rows(part.first, part.count);
    for (const PositionStage& stage : report.stages) {
      const PositionErrors e =
          measure(stage.predicted.matrix<float>().slice_rows(part.first, part.count), actual);
      cells.push_back(with_error(e.mean, e.standard_error, 5));
    }
    rows += row_of(cells);
  }
  return "<section><h2>Sequences</h2><p class=\"lead\">Mean error ± SE.</p>\n" +
         table_of("", header_row(header), rows) + "</section>\n";
}

std::string figures_section(const PositionReport& report) {
  std::string out = "<section><h2>Figures</h2><div class=\"figures\">\n";
  for (const PositionPlot& plot : position_plots(report.set, report.stages, report.plots)) {
    const bool wide = plot.file == "error_heatmap.svg";
    out += fmt::format("<figure{}>{}</figure>\n", wide ? " class=\"wide\"" : "", plot.svg);
  }
  return out + "</div></section>\n";
}

std::string tables_section(const std::vector<PageTable>& tables) {
  if (tables.empty()) return "";
  std::string out = "<section><h2>Diagnostics</h2>\n";
  for (const PageTable& table : tables) {
    std::string rows;
    for (const std::vector<std::string>& row : table.rows) {
      if (row.size() > table.header.size()) {
        fail("table '" + table.caption + "'", fmt::format("{} cells a row", table.header.size()),
             fmt::format("{}", row.size()));
      }
      rows += row_of(row);
    }
    out += table_of(table.caption, header_row(table.header), rows);
  }
  return out + "</section>\n";
}

}  // namespace

std::string make_position_report(const PositionReport& report) {
  const std::string figures = figures_section(report);  // checks the stages
  std::string head;
  for (const std::string& line : report.subtitle) head += "<p>" + escape_markup(line) + "</p>\n";
  // Styles are inside of the page and its figures; nothing else may be loaded or run, even if text
  // got past the escaping.
  return fmt::format(
      "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
      "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src "
      "'unsafe-inline'; base-uri 'none'; form-action 'none'\">\n"
      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
      "<meta name=\"color-scheme\" content=\"light dark\">\n<title>{0}</title>\n"
      "<style>{1}</style>\n</head>\n<body>\n<header><h1>{0}</h1>\n{2}</"
      "header>\n<main>\n{3}{4}{5}{6}"
      "</main>\n</body>\n</html>\n",
      escape_markup(report.title), kStyle, head, stages_section(report), figures,
      tables_section(report.tables), sequences_section(report));
}

}  // namespace scute
