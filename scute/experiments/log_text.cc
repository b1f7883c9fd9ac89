#include "scute/experiments/log_text.h"

#include <fmt/format.h>
#include <string.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <map>

#include "scute/base/csv.h"
#include "scute/experiments/fields.h"
#include "scute/experiments/score_json.h"

namespace scute {
namespace {

constexpr std::array<std::string_view, 4> kFirst{"number", "id", "timestamp", "command"};
constexpr std::string_view kLast = "range_reduction_mean";

std::string csv_value(const Json& value) {
  if (value.is_null()) return "";
  if (value.is_string()) return csv_text(value.as_string(""));
  return value.is_array() ? csv_text(value.dump()) : value.dump();
}

std::string csv_number(const std::optional<double>& x) { return x ? fmt::format("{}", *x) : ""; }

void visit_members(const Json& object, const std::string& prefix,
                   const std::function<void(const std::string&, const Json&)>& visit) {
  if (!object.is_object()) return;
  for (const auto& [key, value] : object.as_object("")) {
    if (value.is_object()) {
      visit_members(value, prefix + key + ".", visit);
    } else {
      visit(prefix + key, value);
    }
  }
}

constexpr size_t kShortHash = 12;

/// {TASK: {KEY: VALUE}} of what results.tasks says of files and protocol.
Json protocol_of_tasks(const LogEntry& entry) {
  constexpr std::array<std::string_view, 8> kKeys{"file",   "sha256", "n",       "max_context",
                                                  "window", "stride", "context", "stepwise"};
  Json out = Json::object();
  const Json* tasks = field(entry.results, {"tasks"});
  if (tasks == nullptr || !tasks->is_object()) return out;
  for (const auto& [name, task] : tasks->as_object("")) {
    for (const std::string_view key : kKeys) {
      const Json* value = field(task, {key});
      if (value == nullptr) continue;
      const bool hash = key == "sha256" && value->is_string();
      out[name][key] = hash ? Json(value->as_string("").substr(0, kShortHash)) : *value;
    }
  }
  return out;
}

/// The number that follows `rest`, which begins after a key; empty when there is none.
std::optional<double> number_after(std::string_view rest) {
  const size_t colon = rest.find_first_not_of(" \t");
  if (colon == std::string_view::npos || rest[colon] != ':') return std::nullopt;
  const size_t begin = rest.find_first_not_of(" \t", colon + 1);
  if (begin == std::string_view::npos) return std::nullopt;
  double value = 0;
  const auto [end, error] = std::from_chars(rest.data() + begin, rest.data() + rest.size(), value);
  // from_chars also reads "nan" and "inf".
  return error == std::errc() && std::isfinite(value) ? std::optional(value) : std::nullopt;
}

/// One experiment's cells by the names of their columns.
using TextCells = std::map<std::string, std::string>;

std::string csv_row(const LogEntry& entry, const std::vector<std::string>& keys, TextCells& results,
                    const std::vector<std::string>& names) {
  TextCells config;
  visit_scalars(settings_of(entry), [&](const std::string& key, const Json& value) {
    config.emplace(key, csv_value(value));
  });
  std::string out = fmt::format("{},{},{},{}", entry.number, csv_text(entry.id),
                                csv_text(entry.timestamp), csv_text(entry.command));
  for (const std::string& key : keys) out += "," + config[key];
  for (const std::string& name : names) out += "," + results[name];
  return out + "," + csv_number(mean_range_reduction(entry)) + "\r\n";
}

void add_once(std::vector<std::string>& list, const std::string& text) {
  if (std::ranges::find(list, text) == list.end()) list.push_back(text);
}

std::string csv_titles(const std::vector<std::string>& keys,
                       const std::vector<std::string>& names) {
  std::string out = "number,id,timestamp,command";
  for (const std::string& key : keys) {
    const bool taken = std::ranges::find(kFirst, key) != kFirst.end() || key == kLast ||
                       std::ranges::find(names, key) != names.end();
    out += "," + csv_text(taken ? "config." + key : key);
  }
  for (const std::string& name : names) out += "," + csv_text(name);
  return fmt::format("{},{}\r\n", out, kLast);
}

}  // namespace

std::vector<NamedNumber> result_numbers(const Score& score) {
  std::vector<NamedNumber> out;
  for (size_t i = 0; i < score.size(); ++i) {
    const MetricScore& one = score[i];
    const std::string& name = one.metric.name;
    out.push_back({name, one.mean});
    const bool known = std::isfinite(one.standard_error);
    out.push_back({name + "_stderr", known ? std::optional(one.standard_error) : std::nullopt});
    const std::string& group = one.metric.words.group;
    if (i + 1 < score.size() && score[i + 1].metric.words.group == group) continue;
    const auto count = static_cast<double>(one.count);
    out.push_back({(group.empty() ? name : group) + "_n",
                   one.count > 0 ? std::optional(count) : std::nullopt});
  }
  return out;
}

std::optional<double> mean_range_reduction(const LogEntry& entry) {
  constexpr std::string_view kReduction = "\"range_reduction\"";
  double sum = 0;
  int64_t count = 0;
  for (std::string_view rest = entry.text; !rest.empty();) {
    // glibc's memmem reads 100 MB in 20 ms, string_view::find in 200.
    const void* found = ::memmem(rest.data(), rest.size(), kReduction.data(), kReduction.size());
    if (found == nullptr) break;
    rest.remove_prefix(static_cast<size_t>(static_cast<const char*>(found) - rest.data()) +
                       kReduction.size());
    if (const auto value = number_after(rest)) {
      sum += *value;
      ++count;
    }
  }
  return count == 0 ? std::nullopt : std::optional(sum / static_cast<double>(count));
}

void visit_scalars(const Json& object,
                   const std::function<void(const std::string&, const Json&)>& visit) {
  visit_members(object, "", visit);
}

Json settings_of(const LogEntry& entry) {
  Json out = entry.config.is_object() ? entry.config : Json::object();
  // Not into out["sha256"]: a config may have that key too, with any value.
  Json sha256;
  const auto add_hash = [&sha256](std::string_view key, const std::string& hash) {
    if (!hash.empty()) sha256[key] = hash.substr(0, kShortHash);
  };
  for (const char* key : {"model", "tokenizer", "windows", "statistics"}) {
    add_hash(key, text_field(entry.hashes, {key}));
  }
  std::string data;
  const Json* files = field(entry.hashes, {"data"});
  if (files != nullptr && files->is_array()) {
    for (const Json& file : files->as_array("")) {
      data += (data.empty() ? "" : " ") + text_field(file, {"sha256"}).substr(0, kShortHash);
    }
    if (!data.empty()) sha256["data"] = data;
  }
  if (!sha256.is_null()) out["sha256"] = std::move(sha256);
  if (Json tasks = protocol_of_tasks(entry); !tasks.as_object("").empty()) {
    out["tasks"] = std::move(tasks);
  }
  const Json* reorder = field(entry.reorder_summary, {"avg_range_reduction"});
  if (reorder != nullptr && !reorder->is_null()) out["reorder_avg_range_reduction"] = *reorder;
  return out;
}

std::string log_csv(const std::vector<const LogEntry*>& entries) {
  std::vector<std::string> keys, names;
  std::vector<TextCells> results;
  for (const LogEntry* entry : entries) {
    visit_scalars(settings_of(*entry),
                  [&](const std::string& key, const Json&) { add_once(keys, key); });
    TextCells& cells = results.emplace_back();
    for (const NamedNumber& number : result_numbers(read_score(*entry))) {
      add_once(names, number.name);
      cells[number.name] = csv_number(number.value);
    }
  }
  std::string out = csv_titles(keys, names);
  for (size_t i = 0; i < entries.size(); ++i) out += csv_row(*entries[i], keys, results[i], names);
  return out;
}

}  // namespace scute
