#include "cli/experiments/ranking_text.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "cli/experiments/experiment_text.h"
#include "cli/terminal/table.h"
#include "cli/terminal/words.h"
#include "scute/base/names.h"
#include "scute/experiments/score_json.h"

namespace scute::cli {
namespace {

/// Of a ratio in percent, else as the metric's unit is shown.
std::string difference_text(const Difference& d) {
  if (d.verdict == Difference::Verdict::not_comparable) return "-";
  const ShownUnit unit = d.ratio ? ShownUnit{100, "%", 3} : shown_unit(d.metric.unit);
  const double change = unit.factor * d.difference, error = unit.factor * d.standard_error;
  if (std::isnan(error)) {
    return unit.digits ? fmt::format("{:+.{}f}", change, *unit.digits)
                       : fmt::format("{:+.3g}", change);
  }
  return unit.digits ? fmt::format("{:+.{}f} ± {:.{}f}", change, *unit.digits, error, *unit.digits)
                     : fmt::format("{:+.3g} ± {:.2g}", change, error);
}

/// The metrics of a ranking's table: of those that share a heading the first that there is.
std::vector<Metric> metrics_of(const Ranking& ranking) {
  std::vector<Metric> out;
  for (const RankedExperiment& ranked : ranking.experiments) {
    for (const MetricScore& one : ranked.score) {
      const std::string& heading = one.metric.words.heading;
      const bool shown = std::ranges::any_of(
          out, [&](const Metric& metric) { return metric.words.heading == heading; });
      if (!heading.empty() && !shown) out.push_back(one.metric);
    }
  }
  return out;
}

/// What the differences from the best mean, a line an experiment.
std::string verdicts_of(const Ranking& ranking, const std::vector<Metric>& metrics) {
  std::string out;
  for (const RankedExperiment& ranked : ranking.experiments) {
    std::vector<std::string> verdicts;
    for (const Difference& d : ranked.against_best) {
      if (std::ranges::find(metrics, d.metric.name, &Metric::name) == metrics.end()) continue;
      verdicts.push_back(d.metric.words.brief + " " + verdict_text(d));
    }
    if (verdicts.empty()) continue;
    out += fmt::format("  {}: {}\n", setting_text(*ranked.entry), joined(verdicts, "; "));
  }
  return out;
}

/// "perplexity", "last word %"; and of the differences from the best "to best %", "…, points".
std::vector<Table::Column> columns_of(const std::vector<Metric>& metrics) {
  std::vector<Table::Column> out{{"no."},
                                 {.title = "setting", .align = Table::Align::left, .least = 16}};
  for (const Metric& metric : metrics) {
    const std::string unit = shown_unit(metric.unit).unit;
    out.push_back({metric.words.brief + (unit.empty() ? "" : " " + unit)});
    const bool ratio = metric.form == MetricForm::perplexity || metric.form == MetricForm::ratio;
    out.push_back({ratio ? "to best %" : unit == "%" ? "to best, points" : "to best"});
  }
  return out;
}

void add_cells(const RankedExperiment& ranked, const Metric& metric, bool best,
               std::vector<std::string>& row) {
  const bool not_finite = is_not_finite(ranked.entry->results);
  std::string value = not_finite ? "not finite" : "-";
  std::string difference = best ? "best" : "";
  for (const MetricScore& one : ranked.score) {
    if (not_finite || one.metric.name != metric.name) continue;
    const ShownUnit unit = shown_unit(metric.unit);
    value = score_text(one);
    if (!unit.unit.empty()) value.resize(value.size() - unit.unit.size() - 1);  // in the title
  }
  for (const Difference& d : ranked.against_best) {
    if (d.metric.name == metric.name) difference = difference_text(d);
  }
  row.push_back(value);
  row.push_back(difference);
}

}  // namespace

std::string ranking_text(const Ranking& ranking) {
  const std::vector<Metric> metrics = metrics_of(ranking);
  Table table(columns_of(metrics));
  for (const RankedExperiment& ranked : ranking.experiments) {
    const bool first = &ranked == &ranking.experiments.front();
    std::vector<std::string> row{fmt::format("{}", ranked.entry->number),
                                 setting_text(*ranked.entry)};
    for (const Metric& metric : metrics) {
      add_cells(ranked, metric, first && metric.name == ranking.metric, row);
    }
    table.add(std::move(row));
    if (first) table.mark_best();
  }
  return fmt::format("\n{}\n{}{}", ranking.model, table.text(), verdicts_of(ranking, metrics));
}

Json ranking_json(const Ranking& ranking) {
  Json out;
  out["model"] = ranking.model;
  out["experiments"] = Json::array();
  for (const RankedExperiment& ranked : ranking.experiments) {
    Json row;
    row["number"] = ranked.entry->number;
    row["id"] = ranked.entry->id;
    row["setting"] = setting_text(*ranked.entry);
    row["results"] = ranked.entry->results;
    row["against_best"] = Json::array();
    for (const Difference& d : ranked.against_best) {
      Json item;
      item["metric"] = d.metric.name;
      item["difference"] = d.difference;
      item["standard_error"] = d.standard_error;
      item["p"] = d.p;
      item["paired"] = d.paired;
      item["verdict"] = verdict_text(d);
      item["items_needed"] = d.items_needed ? Json(*d.items_needed) : Json();
      row["against_best"].push_back(std::move(item));
    }
    out["experiments"].push_back(std::move(row));
  }
  return out;
}

}  // namespace scute::cli
