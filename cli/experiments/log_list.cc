#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "cli/experiments/experiment_text.h"
#include "cli/experiments/log.h"
#include "cli/terminal/table.h"
#include "cli/terminal/words.h"
#include "scute/base/csv.h"
#include "scute/base/names.h"
#include "scute/experiments/fields.h"
#include "scute/experiments/log_text.h"
#include "scute/experiments/score_json.h"

namespace scute::cli {
namespace {

/// A column of results: the metrics that share it, in the order in which they are preferred.
struct ResultColumn {
  std::string heading;
  std::vector<Metric> metrics;
};
using ResultColumns = std::vector<ResultColumn>;

/// Of all that any experiment has; first those of which more is better.
ResultColumns result_columns(const Entries& entries) {
  ResultColumns out;
  for (const LogEntry* entry : entries) {
    for (const MetricScore& one : read_score(*entry)) {
      const Metric& metric = one.metric;
      if (metric.words.heading.empty()) continue;
      auto at = std::ranges::find(out, metric.words.heading, &ResultColumn::heading);
      if (at == out.end()) at = out.insert(out.end(), {metric.words.heading, {}});
      if (std::ranges::find(at->metrics, metric.name, &Metric::name) == at->metrics.end()) {
        at->metrics.push_back(metric);
      }
    }
  }
  std::ranges::stable_sort(out, {}, [](const ResultColumn& column) {
    return column.metrics.front().direction == MetricDirection::lower;
  });
  return out;
}

/// The first result of the column's heading; "-" without one. "not finite" of a record that says
/// so: what else it holds, as a share of hits, counts what was no number as missed.
std::string result_cell(const Score& score, const ResultColumn& column, bool not_finite) {
  if (not_finite) return "not finite";
  for (const MetricScore& one : score) {
    if (one.metric.words.heading != column.heading) continue;
    std::string out = score_text(one);
    if (!one.metric.words.mark.empty()) out += " " + one.metric.words.mark;
    return printable(out);
  }
  return "-";
}

/// "perplexity: of a text, per token (w: per last word)"
std::string legend_of(const ResultColumn& column) {
  std::string out = column.heading + ": ";
  for (const Metric& metric : column.metrics) {
    const bool first = &metric == &column.metrics.front();
    if (first && metric.words.mark.empty()) {
      out += metric.words.about;
    } else {
      out += fmt::format("{}({}: {})", first ? "" : " ", metric.words.mark, metric.words.about);
    }
  }
  return printable(out);
}

/// "quamba 0.9995", "0.9995", "auto, gptq, grouped" or "-".
std::string policy_text(const Json& config) {
  const std::string policy = printable(text_field(config, {"policy"}));
  const Json* alpha = config.find("percentile_alpha");
  std::string out = policy;
  if (alpha != nullptr && !alpha->is_null()) {
    out += (policy.empty() ? "" : " ") + value_text(alpha);
  }
  if (flag_field(config, {"apply_gptq"})) out += ", gptq";
  if (flag_field(config, {"group_heads"})) out += ", grouped";
  if (out.starts_with(", ")) out = out.substr(2);
  return out.empty() ? "-" : out;
}

std::vector<std::string> cells(const LogEntry& entry, const ResultColumns& columns) {
  const Score score = read_score(entry);
  std::vector<std::string> out{fmt::format("{}", entry.number), printable(entry.timestamp),
                               value_text(entry.config.find("model")), bits_text(entry.config),
                               policy_text(entry.config)};
  const bool not_finite = is_not_finite(entry.results);
  for (const ResultColumn& column : columns) out.push_back(result_cell(score, column, not_finite));
  const auto reduction = mean_range_reduction(entry);
  out.push_back(reduction ? fixed(100 * *reduction, 1) : "-");
  out.push_back(entry.id.empty() ? "-" : printable(entry.id));
  return out;
}

std::vector<Table::Column> titles(const ResultColumns& columns) {
  constexpr Table::Align kLeft = Table::Align::left;
  std::vector<Table::Column> out{
      {"no."},
      {"time", kLeft, 3},
      {.title = "model", .align = kLeft, .least = 16},
      {"bits", kLeft},
      {.title = "policy", .align = kLeft, .keep = Table::Keep::beginning, .least = 12}};
  for (const ResultColumn& column : columns) out.push_back({printable(column.heading)});
  out.push_back({"range −%", Table::Align::right, 1});
  out.push_back({"id", kLeft, 2});
  return out;
}

/// Of a table for GitHub. Nothing in it formats, links, loads a picture or is set as mathematics; a
/// formula of spreadsheets, into which such tables are pasted, becomes text.
std::string markdown_cell(const std::string& text) {
  constexpr std::string_view kMarks = "|\\`*_[]$~";
  std::string out = is_formula(text) ? "'" : "";
  for (const char c : text) {
    if (kMarks.find(c) != kMarks.npos) out += '\\';
    out += c == '<' ? std::string("&lt;") : std::string(1, c);
  }
  return out;
}

std::string markdown_row(const std::vector<std::string>& row) {
  std::string out = "|";
  for (const std::string& cell : row) out += " " + markdown_cell(cell) + " |";
  return out + "\n";
}

Json number_json(const std::optional<double>& x) { return x ? Json(*x) : Json(); }

/// Every key of any configuration, and the values that occur, at most 6 of each.
using Keys = std::vector<std::pair<std::string, std::vector<std::string>>>;
Keys config_keys(const ExperimentLog& log) {
  Keys out;
  for (const LogEntry& entry : log.entries) {
    visit_scalars(entry.config, [&](const std::string& key, const Json& value) {
      const std::string name = key.substr(key.rfind('.') + 1);
      auto at = std::ranges::find(out, name, &Keys::value_type::first);
      if (at == out.end()) at = out.insert(out.end(), {name, {}});
      const std::string text = value.is_string() ? value.as_string("") : value.dump();
      if (at->second.size() < 6 && std::ranges::find(at->second, text) == at->second.end()) {
        at->second.push_back(text);
      }
    });
  }
  return out;
}

}  // namespace

std::string list_text(const Entries& entries) {
  ResultColumns columns = result_columns(entries);
  const bool none_finite = columns.empty() && std::ranges::any_of(entries, [](const auto* entry) {
                             return is_not_finite(entry->results);
                           });
  if (none_finite) columns.push_back({"result", {Metric{}}});
  Table table(titles(columns));
  for (const LogEntry* entry : entries) table.add(cells(*entry, columns));
  std::string out = table.text();
  for (const ResultColumn& column : columns) {
    if (!none_finite) out += legend_of(column) + "; ";
  }
  return out + "±: standard error; range −%: mean reduction by clipping\n";
}

std::string list_markdown(const Entries& entries) {
  const ResultColumns columns = result_columns(entries);
  std::vector<std::string> names;
  std::string rule = "|";
  for (const Table::Column& column : titles(columns)) {
    names.push_back(column.title);
    rule += column.align == Table::Align::left ? "---|" : "---:|";
  }
  std::string out = markdown_row(names) + rule + "\n";
  for (const LogEntry* entry : entries) out += markdown_row(cells(*entry, columns));
  return out;
}

Json list_json(const ExperimentLog& log, const Entries& entries) {
  Json out;
  out["log"] = log.path;
  out["experiments"] = Json::array();
  for (const LogEntry* entry : entries) {
    Json one;
    one["number"] = entry->number;
    one["id"] = entry->id;
    one["timestamp"] = entry->timestamp;
    one["command"] = entry->command;
    one["config"] = entry->config;
    one["reorder_summary"] = entry->reorder_summary;
    one["results"] = entry->results;
    one["range_reduction_mean"] = number_json(mean_range_reduction(*entry));
    one["hashes"] = entry->hashes;
    one["files"] = entry->files;
    out["experiments"].push_back(std::move(one));
  }
  out["remarks"] = array_of(log.remarks);
  return out;
}

std::string no_match_text(const ExperimentLog& log, const std::vector<std::string>& terms) {
  std::string out = fmt::format("none of {} matches",
                                count_of(static_cast<int64_t>(log.entries.size()), "experiment"));
  const Keys keys = config_keys(log);
  std::vector<std::string> names;
  for (const auto& [name, values] : keys) names.push_back(printable(name));
  bool unknown = false;
  for (const std::string& term : terms) {
    const size_t colon = term.find(':');
    if (colon == std::string::npos) continue;
    std::string key = term.substr(0, colon);
    std::replace(key.begin(), key.end(), '-', '_');
    const auto at = std::ranges::find(keys, key, &Keys::value_type::first);
    if (at == keys.end()) {
      out += fmt::format("; no configuration has a key \"{}\"{}", key, did_you_mean(key, names));
      unknown = true;
    } else {
      out += fmt::format("; {} is {}{} there", key, printable(joined(at->second, ", ")),
                         at->second.size() == 6 ? ", …" : "");
    }
  }
  if (unknown || terms.empty()) out += fmt::format("; keys: {}", joined(names, ", "));
  if (out.find(';') == std::string::npos) {
    out +=
        "; a bare word is looked for in model and command, \"KEY: VALUE\" in the configuration, "
        "whose keys are " +
        joined(names, ", ");
  }
  return out;
}

}  // namespace scute::cli
