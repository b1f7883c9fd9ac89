#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <optional>

#include "cli/experiments/experiment_text.h"
#include "cli/experiments/log.h"
#include "cli/terminal/table.h"
#include "cli/terminal/words.h"
#include "scute/base/names.h"
#include "scute/experiments/fields.h"
#include "scute/experiments/log_text.h"

namespace scute::cli {
namespace {

constexpr std::array kTitles{"no.",      "time",       "model",    "bits", "policy",
                             "accuracy", "perplexity", "range −%", "id"};

std::optional<double> times_100(std::optional<double> x) {
  return x ? std::optional(100 * *x) : std::nullopt;
}

std::optional<double> times_1000(std::optional<double> x) {
  return x ? std::optional(1000 * *x) : std::nullopt;
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

std::vector<std::string> cells(const LogEntry& entry) {
  const ResultNumbers r = result_numbers(entry.results);
  std::string accuracy = with_error(times_100(r.accuracy), times_100(r.accuracy_error), 2);
  if (r.accuracy) accuracy += " %";
  if (r.position_error) {
    accuracy = with_error(times_1000(r.position_error), times_1000(r.position_error_error), 2);
    accuracy += " mm";
  }
  const std::string perplexity =
      r.perplexity ? with_error(r.perplexity, r.perplexity_error, 3)
                   : with_error(r.last_word_perplexity, r.last_word_perplexity_error, 3) +
                         (r.last_word_perplexity ? " w" : "");
  const auto reduction = mean_range_reduction(entry);
  const Json* model = entry.config.find("model");
  return {fmt::format("{}", entry.number),
          printable(entry.timestamp),
          value_text(model),
          bits_text(entry.config),
          policy_text(entry.config),
          accuracy,
          perplexity,
          reduction ? fixed(100 * *reduction, 1) : "-",
          entry.id.empty() ? "-" : printable(entry.id)};
}

bool has_word_perplexity(const Entries& entries) {
  return std::ranges::any_of(entries, [](const LogEntry* entry) {
    const ResultNumbers r = result_numbers(entry->results);
    return r.last_word_perplexity && !r.perplexity;
  });
}

bool has_positions(const Entries& entries) {
  return std::ranges::any_of(entries, [](const LogEntry* entry) {
    return result_numbers(entry->results).position_error.has_value();
  });
}

std::string markdown_cell(const std::string& text) {
  std::string out;
  for (const char c : text) {
    if (c == '|' || c == '\\' || c == '`' || c == '*' || c == '_') out += '\\';
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
  std::vector<Table::Column> columns;
  for (size_t i = 0; i < kTitles.size(); ++i) {
    const bool left = (i >= 1 && i <= 4) || i == 8;
    columns.push_back({kTitles[i], left ? Table::Align::left : Table::Align::right});
  }
  Table table(columns);
  for (const LogEntry* entry : entries) table.add(cells(*entry));
  std::string out = table.text();
  out += "accuracy: of last words";
  if (has_positions(entries)) out += " (mm: a regressor's mean error)";
  out += "; perplexity: of a text, per token";
  if (has_word_perplexity(entries)) out += " (w: per last word)";
  return out + "; ±: standard error; range −%: mean reduction by clipping\n";
}

std::string list_markdown(const Entries& entries) {
  std::string out = markdown_row({kTitles.begin(), kTitles.end()});
  out += "|---:|---|---|---|---|---:|---:|---:|---|\n";
  for (const LogEntry* entry : entries) out += markdown_row(cells(*entry));
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
  out["remarks"] = Json::array();
  for (const std::string& remark : log.remarks) out["remarks"].push_back(remark);
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
