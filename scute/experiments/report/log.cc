// The report's experiments: what was tried, what came out, and every pair compared.
#include <algorithm>
#include <cmath>
#include <filesystem>
#include <map>

#include "scute/base/error.h"
#include "scute/experiments/difference.h"
#include "scute/experiments/fields.h"
#include "scute/experiments/report/data.h"

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

/// {"value", "error", "n"}; null without a value.
Json result(const Json& value, Json error, Json n) {
  if (value.is_null()) return {};
  Json out;
  out["value"] = value;
  out["error"] = std::move(error);
  out["n"] = std::move(n);
  return out;
}

/// The results that scute's own logs hold under tasks, else what other tools' logs have on top.
void add_results(const Json& results, Json& out) {
  const auto task = [&results](std::string_view name, std::string_view value,
                               std::string_view error) {
    return result(number_at(results, {"tasks", name, value}),
                  number_at(results, {"tasks", name, error}, 3),
                  number_at(results, {"tasks", name, "n"}));
  };
  const auto bare = [&results](std::string_view name) {
    return result(number_at(results, {name}), {}, {});
  };
  out["perplexity"] = task("perplexity", "perplexity", "perplexity_stderr");
  out["accuracy"] = task("last_word", "accuracy", "accuracy_stderr");
  out["word_perplexity"] = task("last_word", "perplexity", "perplexity_stderr");
  if (out["accuracy"].is_null()) out["accuracy"] = bare("accuracy");
  if (out["word_perplexity"].is_null()) out["word_perplexity"] = bare("perplexity");
  out["position_error"] = task("positions", "mean", "mean_stderr");
  for (const std::string_view name : {"perplexity", "last_word", "positions"}) {
    const Json file = text_at(results, {"tasks", name, "file"});
    if (!file.is_null()) out["files"].push_back(file);
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

Json experiment(const LogEntry& entry, const std::string& where, Words& sites, Json& remarks) {
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
  add_results(entry.results, out);
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

/// [metric, difference, standard error, p, items, paired, verdict, its words]
Json difference_row(const Difference& difference, const std::string& verdict, Words& words) {
  return Json::Array{static_cast<int64_t>(difference.metric),
                     number(difference.difference, 4),
                     number(difference.standard_error, 3),
                     number(difference.p, 3),
                     difference.items,
                     int64_t{difference.paired},
                     static_cast<int64_t>(difference.verdict),
                     words.place(verdict)};
}

/// [[i, j, differences…], …] for places i < j in the list of experiments; j is compared with i.
Json compare_pairs(const std::vector<const LogEntry*>& entries, const std::string& folder,
                   const Threads& threads, Words& words) {
  std::vector<std::pair<size_t, size_t>> pairs;
  for (size_t i = 0; i < entries.size(); ++i) {
    for (size_t j = i + 1; j < entries.size(); ++j) pairs.emplace_back(i, j);
  }
  // Read once: each takes part in as many pairs as there are others.
  std::vector<std::optional<Scores>> scores(entries.size());
  threads.for_each(static_cast<int64_t>(entries.size()), [&](int64_t at, int) {
    const auto place = static_cast<size_t>(at);
    scores[place] = read_scores(*entries[place], folder);
  });
  const auto known = [&scores](size_t i) { return scores[i] ? &*scores[i] : nullptr; };
  std::vector<Compared> compared(pairs.size());
  threads.for_each(static_cast<int64_t>(pairs.size()), [&](int64_t at, int) {
    const auto place = static_cast<size_t>(at);
    const auto& [i, j] = pairs[place];
    Compared& out = compared[place];
    out.differences = compare_results(*entries[i], *entries[j], known(i), known(j));
    for (const Difference& d : out.differences) out.verdicts.push_back(verdict_text(d));
  });
  Json out = Json::array();
  for (size_t place = 0; place < pairs.size(); ++place) {
    const Compared& all = compared[place];
    if (all.differences.empty()) continue;
    Json row = Json::Array{static_cast<int64_t>(pairs[place].first),
                           static_cast<int64_t>(pairs[place].second)};
    for (size_t d = 0; d < all.differences.size(); ++d) {
      row.push_back(difference_row(all.differences[d], all.verdicts[d], words));
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
  Json out, remarks = Json::array();
  out["file"] = std::filesystem::path(log.path).filename().string();
  out["total"] = total;
  for (const std::string& remark : log.remarks) remarks.push_back(remark);
  out["experiments"] = Json::array();
  std::vector<const LogEntry*> shown;
  for (int64_t i = first; i < total; ++i) {
    shown.push_back(&log.entries[static_cast<size_t>(i)]);
    out["experiments"].push_back(experiment(*shown.back(), log.path, sites, remarks));
  }
  out["pairs"] = compare_pairs(shown, log.folder(), threads, words);
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
