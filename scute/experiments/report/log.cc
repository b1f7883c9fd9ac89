// The report's experiments: what was tried, what came out, and every pair compared.
#include <algorithm>
#include <cmath>
#include <filesystem>
#include <map>

#include "scute/base/error.h"
#include "scute/experiments/difference.h"
#include "scute/experiments/fields.h"
#include "scute/experiments/report/data.h"
#include "scute/experiments/score_json.h"

namespace scute {
namespace {

/// Words that repeat, kept once and named by their place.
class Words {
 public:
  int64_t place(const std::string& text) {
    const auto [at, added] = places_.emplace(text, static_cast<int64_t>(list_.size()));
    if (added) list_.push_back(text);
    return at->second;
  }
  Json json() const {
    Json out = Json::array();
    for (const std::string& text : list_) out.push_back(text);
    return out;
  }

 private:
  std::map<std::string, int64_t> places_;
  std::vector<std::string> list_;
};

/// The number at a path; null when there is none: logs of other tools may have anything there.
Json number_at(const Json& json, FieldPath path, int digits = 6) {
  const std::optional<double> found = number_field(json, path);
  return found ? number(*found, digits) : Json();
}

Json text_at(const Json& json, FieldPath path) {
  const Json* found = field(json, path);
  return found != nullptr && found->is_string() ? *found : Json();
}

/// Metrics of any experiment, each once, in the order of the first that has it.
class Metrics {
 public:
  int64_t place(const Metric& metric) {
    const auto at = std::ranges::find(list_, metric.name, &Metric::name);
    if (at != list_.end()) return at - list_.begin();
    list_.push_back(metric);
    return std::ssize(list_) - 1;
  }
  /// [{"name", "label", "title", "listed", "factor", "unit", "better"}]: numbers times factor are
  /// in unit; those not listed have no column of their own.
  Json json() const {
    Json out = Json::array();
    for (const Metric& metric : list_) {
      const ShownUnit unit = shown_unit(metric.unit);
      Json one;
      one["name"] = metric.name;
      one["label"] = metric.words.label;
      one["title"] = metric.words.brief.empty() ? metric.words.label : metric.words.brief;
      one["listed"] = !metric.words.heading.empty();
      one["factor"] = unit.factor;
      one["unit"] = unit.unit;
      one["better"] = metric.direction == MetricDirection::lower ? "lower" : "higher";
      out.push_back(std::move(one));
    }
    return out;
  }

 private:
  std::vector<Metric> list_;
};

/// {METRIC: {"value", "error", "n", "bound"?}} and the files that the items are of.
void add_results(const Score& score, Metrics& metrics, Json& out) {
  out["results"] = Json::object();
  for (const MetricScore& one : score) {
    metrics.place(one.metric);
    Json& result = out["results"][one.metric.name];
    result["value"] = number(one.mean, 6);
    result["error"] = number(one.standard_error, 3);
    if (const auto bound = share_bound(one)) result["bound"] = number(*bound, 3);
    result["n"] = one.count > 0 ? Json(one.count) : Json();
    const auto file = std::ranges::find(one.protocol, "file", &ProtocolFact::key);
    if (file == one.protocol.end() || !file->value.is_string()) continue;
    if (!out["files"].is_array()) out["files"] = Json::array();
    const auto& files = out["files"].as_array("report");
    if (std::ranges::find(files, file->value) == files.end()) out["files"].push_back(file->value);
  }
}

/// [site, min, max, lo, hi, clipped, SQNR]; empty when the site's ranges are no numbers.
Json range_row(int64_t site, const Json& stats) {
  Json row = Json::Array{site,
                         number_at(stats, {"before_percentile", "min"}, 5),
                         number_at(stats, {"before_percentile", "max"}, 5),
                         number_at(stats, {"after_percentile", "min"}, 5),
                         number_at(stats, {"after_percentile", "max"}, 5),
                         number_at(stats, {"clipped_ratio"}, 4),
                         number_at(stats, {"sqnr_db"}, 4)};
  const auto& cells = row.as_array("report");
  const bool complete =
      std::all_of(cells.begin(), cells.begin() + 5, [](const Json& j) { return j.is_number(); });
  return complete ? row : Json();
}

/// [site, range before, range after, reduction in percent]
Json reorder_row(int64_t site, const Json& stats) {
  const Json before = number_at(stats, {"before_reorder", "range"}, 5);
  const Json after = number_at(stats, {"after_reorder", "range"}, 5);
  if (before.is_null() || after.is_null()) return {};
  return Json::Array{site, before, after, number_at(stats, {"range_reduction_pct"}, 4)};
}

void add_sites(const Json& record, Words& sites, Json& out) {
  const Json* all = record.find("activation_stats");
  Json ranges = Json::array(), reorder = Json::array();
  if (all != nullptr && all->is_object()) {
    for (const auto& [name, stats] : all->as_object("report")) {
      const int64_t site = sites.place(name);
      if (Json row = range_row(site, stats); !row.is_null()) ranges.push_back(std::move(row));
      if (Json row = reorder_row(site, stats); !row.is_null()) reorder.push_back(std::move(row));
    }
  }
  out["ranges"] = std::move(ranges);
  if (reorder.as_array("report").empty()) return;
  out["reorder"]["sites"] = std::move(reorder);
  out["reorder"]["average"] = number_at(record, {"reorder_summary", "avg_range_reduction"}, 4);
}

Json experiment(const LogEntry& entry, const std::string& where, Words& sites, Metrics& metrics,
                Json& remarks) {
  Json out;
  out["number"] = entry.number;
  out["id"] = entry.id;
  out["timestamp"] = entry.timestamp;
  out["command"] = entry.command;
  out["config"] = finite(entry.config);
  for (const char* key : {"model", "tokenizer", "statistics"}) {
    const Json hash = text_at(entry.hashes, {key});
    if (hash.is_string()) out["hashes"][key] = hash.as_string("report").substr(0, 12);
  }
  add_results(read_score(entry), metrics, out);
  if (is_not_finite(entry.results)) out["not_finite"] = true;
  out["ranges"] = Json::array();
  try {
    const Json record = entry.record(where);
    out["version"] = text_at(record, {"version"});
    out["seconds"] = number_at(record, {"timing", "total"}, 4);
    add_sites(record, sites, out);
  } catch (const Error& error) {
    // One line that another tool wrote badly must not cost the whole report.
    remarks.push_back(error.what());
  }
  return out;
}

struct Compared {
  std::vector<Difference> differences;
  std::vector<std::string> verdicts;
};

/// [metric, difference, standard error, p, items, paired, verdict, its words, as a ratio]
Json difference_row(const Difference& difference, const std::string& verdict, Metrics& metrics,
                    Words& words) {
  return Json::Array{metrics.place(difference.metric),
                     number(difference.difference, 4),
                     number(difference.standard_error, 3),
                     number(difference.p, 3),
                     difference.items,
                     int64_t{difference.paired},
                     static_cast<int64_t>(difference.verdict),
                     words.place(verdict),
                     int64_t{difference.ratio}};
}

/// [[i, j, differences…], …] for places i < j in the list of experiments; j is compared with i.
Json compare_pairs(const std::vector<const LogEntry*>& entries, const std::string& folder,
                   const Threads& threads, Metrics& metrics, Words& words) {
  std::vector<std::pair<size_t, size_t>> pairs;
  for (size_t i = 0; i < entries.size(); ++i) {
    for (size_t j = i + 1; j < entries.size(); ++j) pairs.emplace_back(i, j);
  }
  // Read once: each takes part in as many pairs as there are others.
  std::vector<Score> scores(entries.size());
  threads.for_each(static_cast<int64_t>(entries.size()), [&](int64_t at, int) {
    const auto place = static_cast<size_t>(at);
    scores[place] = score_with_items(*entries[place], folder);
  });
  std::vector<Compared> compared(pairs.size());
  threads.for_each(static_cast<int64_t>(pairs.size()), [&](int64_t at, int) {
    const auto place = static_cast<size_t>(at);
    const auto& [i, j] = pairs[place];
    Compared& out = compared[place];
    out.differences = compare_scores(scores[i], scores[j]);
    for (const Difference& d : out.differences) out.verdicts.push_back(verdict_text(d));
  });
  Json out = Json::array();
  for (size_t place = 0; place < pairs.size(); ++place) {
    const Compared& all = compared[place];
    if (all.differences.empty()) continue;
    Json row = Json::Array{static_cast<int64_t>(pairs[place].first),
                           static_cast<int64_t>(pairs[place].second)};
    for (size_t d = 0; d < all.differences.size(); ++d) {
      row.push_back(difference_row(all.differences[d], all.verdicts[d], metrics, words));
    }
    out.push_back(std::move(row));
  }
  return out;
}

}  // namespace

Json log_data(const ExperimentLog& log, int64_t most, const Threads& threads) {
  const auto total = static_cast<int64_t>(log.entries.size());
  const int64_t first = std::max<int64_t>(0, total - std::max<int64_t>(most, 0));
  Words sites, words;
  Metrics metrics;
  Json out, remarks = Json::array();
  out["file"] = std::filesystem::path(log.path).filename().string();
  out["total"] = total;
  for (const std::string& remark : log.remarks) remarks.push_back(remark);
  out["experiments"] = Json::array();
  std::vector<const LogEntry*> shown;
  for (int64_t i = first; i < total; ++i) {
    shown.push_back(&log.entries[static_cast<size_t>(i)]);
    out["experiments"].push_back(experiment(*shown.back(), log.path, sites, metrics, remarks));
  }
  out["pairs"] = compare_pairs(shown, log.folder(), threads, metrics, words);
  out["metrics"] = metrics.json();
  out["words"] = words.json();
  out["sites"] = sites.json();
  out["layers"] = Json::array();
  for (const Json& site : out["sites"].as_array("report")) {
    const SiteName name = split_site(site.as_string("report"));
    out["layers"].push_back(Json::Array{name.layer, name.op});
  }
  out["remarks"] = std::move(remarks);
  return out;
}

}  // namespace scute
