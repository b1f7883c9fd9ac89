#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <optional>

#include "cli/experiments/experiment_text.h"
#include "cli/experiments/log.h"
#include "cli/terminal/table.h"
#include "cli/terminal/width.h"
#include "cli/terminal/words.h"
#include "scute/experiments/difference.h"
#include "scute/experiments/fields.h"
#include "scute/experiments/log_text.h"

namespace scute::cli {
namespace {

/// One thing that both may have; null where one lacks it.
template <class T>
struct Pair {
  std::string name;
  std::optional<T> a, b;
};
template <class T>
using Pairs = std::vector<Pair<T>>;

template <class T>
Pair<T>& pair_of(Pairs<T>& pairs, const std::string& name) {
  const auto at = std::ranges::find(pairs, name, &Pair<T>::name);
  return at != pairs.end() ? *at : pairs.emplace_back(Pair<T>{name, {}, {}});
}

Pairs<Json> configurations(const LogEntry& a, const LogEntry& b) {
  Pairs<Json> out;
  visit_scalars(settings_of(a),
                [&](const std::string& key, const Json& value) { pair_of(out, key).a = value; });
  visit_scalars(settings_of(b),
                [&](const std::string& key, const Json& value) { pair_of(out, key).b = value; });
  return out;
}

bool differs(const Pair<Json>& pair) {
  if (!pair.a || !pair.b) return true;
  if (pair.a->is_number() && pair.b->is_number()) {
    return pair.a->as_double("") != pair.b->as_double("");
  }
  return *pair.a != *pair.b;
}

Pairs<SiteRanges> ranges_of(const ExperimentLog& log, const LogEntry& a, const LogEntry& b) {
  Pairs<SiteRanges> out;
  for (SiteRanges& site : site_ranges(a.record(log.path))) {
    const std::string name = site.site;
    out.push_back({name, std::move(site), {}});
  }
  // Both list the same sites in the same order, or one does not know the other's at all.
  size_t at = 0;
  for (SiteRanges& site : site_ranges(b.record(log.path))) {
    const std::string name = site.site;
    Pair<SiteRanges>& pair = at < out.size() && out[at].name == name ? out[at] : pair_of(out, name);
    pair.b = std::move(site);
    ++at;
  }
  return out;
}

bool differs(const Pair<SiteRanges>& pair) {
  if (!pair.a || !pair.b) return true;
  const SiteRanges &a = *pair.a, &b = *pair.b;
  return a.before_min != b.before_min || a.before_max != b.before_max ||
         a.before_range != b.before_range || a.after_min != b.after_min ||
         a.after_max != b.after_max || a.after_range != b.after_range;
}

std::string mark(bool different) { return different ? "*" : ""; }

std::string name_of(const LogEntry& entry) {
  return fmt::format("{}{}", entry.number,
                     entry.id.empty() ? "" : " (" + printable(entry.id) + ")");
}

std::string configuration_table(const LogEntry& a, const LogEntry& b) {
  Table table({{"", Table::Align::left},
               {"configuration", Table::Align::left},
               {name_of(a), Table::Align::left},
               {name_of(b), Table::Align::left}});
  const auto value = [](const std::optional<Json>& json) {
    return json ? json->is_null() ? "null" : value_text(&*json) : "(not recorded)";
  };
  for (const auto& pair : configurations(a, b)) {
    table.add({mark(differs(pair)), printable(pair.name), value(pair.a), value(pair.b)});
  }
  return table.rows() == 0 ? "no configuration is recorded\n" : table.text();
}

struct Shown {
  std::string name, a, b, difference;
};

/// As the unit is shown: "50.00 %", "12.30 mm", "27.1712".
Shown shown(const Difference& d) {
  const ShownUnit unit = shown_unit(d.metric.unit);
  const std::string behind = unit.unit.empty() ? "" : " " + unit.unit;
  const auto number = [&](double x) {
    return (unit.digits ? fixed(unit.factor * x, *unit.digits) : significant(unit.factor * x, 6)) +
           behind;
  };
  const double change = unit.factor * (d.b - d.a), error = unit.factor * d.standard_error;
  const std::string plain =
      unit.digits ? fmt::format("{:+.{}f}", change, *unit.digits) : fmt::format("{:+.4g}", change);
  Shown out{d.metric.words.label, number(d.a), number(d.b), ""};
  const bool known = !std::isnan(d.standard_error);
  if (d.ratio) {
    const std::string spread = known ? fmt::format(" ± {:.2f}", 100 * d.standard_error) : "";
    out.difference = fmt::format("{}{}, {:+.2f}{} %", plain, behind, 100 * d.difference, spread);
  } else {
    const std::string spread = !known        ? ""
                               : unit.digits ? " ± " + fixed(error, *unit.digits)
                                             : fmt::format(" ± {:.2g}", error);
    out.difference = plain + spread + (unit.unit == "%" ? " points" : behind);
  }
  return out;
}

/// The verdict of each in a last column, or in 80 columns below the table: it is what one asks for.
std::string results_table(const std::vector<Difference>& differences) {
  if (differences.empty()) return "no result that both have\n";
  std::vector<Table::Column> columns{
      {"result", Table::Align::left}, {"first"}, {"second"}, {"difference"}};
  if (is_wide()) columns.push_back({"the second is", Table::Align::left});
  Table table(std::move(columns));
  std::string below;
  for (const Difference& d : differences) {
    const Shown words = shown(d);
    const std::string verdict = printable(verdict_text(d));
    std::vector<std::string> row{words.name, words.a, words.b, words.difference};
    if (is_wide()) {
      row.push_back(verdict);
    } else {
      below += fmt::format("  {}: the second is {}\n", words.name, verdict);
    }
    table.add(std::move(row));
  }
  return table.text() + below;
}

std::string interval(const std::optional<SiteRanges>& site, bool after) {
  if (!site) return "-";
  const auto lo = after ? site->after_min : site->before_min;
  const auto hi = after ? site->after_max : site->before_max;
  return lo && hi ? fmt::format("{:.4g} … {:.4g}", *lo, *hi) : "-";
}

std::string ranges_table(const Pairs<SiteRanges>& pairs) {
  if (pairs.empty()) return "no ranges are recorded\n";
  Table table({{"", Table::Align::left},
               {"site", Table::Align::left},
               {"before: first", Table::Align::right, 2},
               {"second", Table::Align::right, 2},
               {"after: first", Table::Align::right},
               {"second", Table::Align::right},
               {"clipped: first", Table::Align::right, 1},
               {"second", Table::Align::right, 1}});
  int64_t different = 0;
  for (const auto& pair : pairs) {
    different += differs(pair) ? 1 : 0;
    table.add({mark(differs(pair)), printable(pair.name), interval(pair.a, false),
               interval(pair.b, false), interval(pair.a, true), interval(pair.b, true),
               pair.a ? percent_text(pair.a->clipped) : "-",
               pair.b ? percent_text(pair.b->clipped) : "-"});
  }
  return table.text() + fmt::format("ranges differ at {} of {}\n", different,
                                    count_of(static_cast<int64_t>(pairs.size()), "site"));
}

std::string_view verdict_name(Difference::Verdict verdict) {
  switch (verdict) {
    case Difference::Verdict::better:
      return "better";
    case Difference::Verdict::worse:
      return "worse";
    case Difference::Verdict::noise:
      return "noise";
    case Difference::Verdict::same:
      return "same";
    case Difference::Verdict::not_comparable:
      break;
  }
  return "not_comparable";
}

Json difference_json(const Difference& d) {
  Json out;
  out["metric"] = d.metric.name;
  out["a"] = d.a;
  out["b"] = d.b;
  out["difference"] = d.difference;
  out["standard_error"] = d.standard_error;
  out["p"] = d.p;
  out["n"] = d.items;
  out["paired"] = d.paired;
  out["verdict"] = verdict_name(d.verdict);
  out["n_needed"] = d.items_needed ? Json(*d.items_needed) : Json();
  out["text"] = verdict_text(d);
  return out;
}

Json experiment_json(const LogEntry& entry) {
  Json out;
  out["number"] = entry.number;
  out["id"] = entry.id;
  return out;
}

Json ranges_json(const std::optional<SiteRanges>& site) {
  if (!site) return {};
  const auto side = [](const auto& lo, const auto& hi, const auto& range) {
    Json out;
    out["min"] = lo ? Json(*lo) : Json();
    out["max"] = hi ? Json(*hi) : Json();
    out["range"] = range ? Json(*range) : Json();
    return out;
  };
  Json out;
  out["before_percentile"] = side(site->before_min, site->before_max, site->before_range);
  out["after_percentile"] = side(site->after_min, site->after_max, site->after_range);
  out["clipped_ratio"] = site->clipped ? Json(*site->clipped) : Json();
  return out;
}

}  // namespace

std::string compare_text(const ExperimentLog& log, const LogEntry& a, const LogEntry& b) {
  return configuration_table(a, b) + "* marks what differs\n\n" +
         results_table(compare_results(a, b, log.folder())) + "\n" +
         ranges_table(ranges_of(log, a, b));
}

Json compare_json(const ExperimentLog& log, const LogEntry& a, const LogEntry& b) {
  Json out;
  out["a"] = experiment_json(a);
  out["b"] = experiment_json(b);
  out["config"] = Json::array();
  for (const auto& pair : configurations(a, b)) {
    Json one;
    one["key"] = pair.name;
    one["a"] = pair.a.value_or(Json());
    one["b"] = pair.b.value_or(Json());
    one["differs"] = differs(pair);
    out["config"].push_back(std::move(one));
  }
  out["results"] = Json::array();
  for (const Difference& d : compare_results(a, b, log.folder())) {
    out["results"].push_back(difference_json(d));
  }
  out["ranges"] = Json::array();
  for (const auto& pair : ranges_of(log, a, b)) {
    Json one;
    one["site"] = pair.name;
    one["a"] = ranges_json(pair.a);
    one["b"] = ranges_json(pair.b);
    one["differs"] = differs(pair);
    out["ranges"].push_back(std::move(one));
  }
  return out;
}

}  // namespace scute::cli
