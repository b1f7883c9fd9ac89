#include "scute/experiments/log_text.h"

#include <fmt/format.h>
#include <string.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <map>

#include "scute/experiments/fields.h"

namespace scute {
namespace {

constexpr std::array<std::string_view, 16> kFixed{"number",
                                                  "id",
                                                  "timestamp",
                                                  "command",
                                                  "accuracy",
                                                  "accuracy_stderr",
                                                  "last_word_perplexity",
                                                  "last_word_perplexity_stderr",
                                                  "last_word_n",
                                                  "perplexity",
                                                  "perplexity_stderr",
                                                  "perplexity_n",
                                                  "position_error",
                                                  "position_error_stderr",
                                                  "position_n",
                                                  "range_reduction_mean"};
constexpr size_t kBeforeConfig = 4;

std::string in_quotes(std::string_view text) {
  if (text.find_first_of("\",\r\n") == std::string_view::npos) return std::string(text);
  std::string out = "\"";
  for (const char c : text) out += c == '"' ? std::string("\"\"") : std::string(1, c);
  return out + "\"";
}

std::string csv_value(const Json& value) {
  if (value.is_null()) return "";
  if (value.is_string()) return csv_text(value.as_string(""));
  return value.is_array() ? csv_text(value.dump()) : in_quotes(value.dump());
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

std::string csv_row(const LogEntry& entry, const std::vector<std::string>& keys) {
  const ResultNumbers r = result_numbers(entry.results);
  std::map<std::string, std::string> config;
  visit_scalars(settings_of(entry), [&](const std::string& key, const Json& value) {
    config.emplace(key, csv_value(value));
  });
  std::string out = fmt::format("{},{},{},{}", entry.number, csv_text(entry.id),
                                csv_text(entry.timestamp), csv_text(entry.command));
  for (const std::string& key : keys) out += "," + config[key];
  for (const auto& number :
       {r.accuracy, r.accuracy_error, r.last_word_perplexity, r.last_word_perplexity_error,
        r.last_words, r.perplexity, r.perplexity_error, r.windows, r.position_error,
        r.position_error_error, r.positions, mean_range_reduction(entry)}) {
    out += "," + csv_number(number);
  }
  return out + "\r\n";
}

}  // namespace

ResultNumbers result_numbers(const Json& results) {
  const auto of = [&](std::string_view task, std::string_view key) {
    return number_field(results, {"tasks", task, key});
  };
  ResultNumbers out{of("last_word", "accuracy"),
                    of("last_word", "accuracy_stderr"),
                    of("last_word", "perplexity"),
                    of("last_word", "perplexity_stderr"),
                    of("perplexity", "perplexity"),
                    of("perplexity", "perplexity_stderr"),
                    of("last_word", "n"),
                    of("perplexity", "n"),
                    of("positions", "mean"),
                    of("positions", "mean_stderr"),
                    of("positions", "n")};
  if (!out.accuracy) out.accuracy = number_field(results, {"accuracy"});
  if (!out.last_word_perplexity) out.last_word_perplexity = number_field(results, {"perplexity"});
  return out;
}

std::optional<double> mean_range_reduction(const LogEntry& entry) {
  constexpr std::string_view kKey = "\"range_reduction\"";
  double sum = 0;
  int64_t count = 0;
  for (std::string_view rest = entry.text; !rest.empty();) {
    // glibc's memmem reads 100 MB in 20 ms, string_view::find in 200.
    const void* found = ::memmem(rest.data(), rest.size(), kKey.data(), kKey.size());
    if (found == nullptr) break;
    rest.remove_prefix(static_cast<size_t>(static_cast<const char*>(found) - rest.data()) +
                       kKey.size());
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
  constexpr size_t kShort = 12;
  Json out = entry.config.is_object() ? entry.config : Json::object();
  const auto add_hash = [&out](std::string_view key, const std::string& hash) {
    if (!hash.empty()) out["sha256"][key] = hash.substr(0, kShort);
  };
  for (const char* key : {"model", "tokenizer", "windows", "statistics"}) {
    add_hash(key, text_field(entry.hashes, {key}));
  }
  std::string data;
  const Json* files = field(entry.hashes, {"data"});
  if (files != nullptr && files->is_array()) {
    for (const Json& file : files->as_array("")) {
      data += (data.empty() ? "" : " ") + text_field(file, {"sha256"}).substr(0, kShort);
    }
    if (!data.empty()) out["sha256"]["data"] = data;
  }
  for (const char* task : {"last_word", "perplexity"}) {
    for (const char* key :
         {"file", "sha256", "n", "max_context", "window", "stride", "context", "stepwise"}) {
      const Json* value = field(entry.results, {"tasks", task, key});
      if (value == nullptr) continue;
      const bool hash = std::string_view(key) == "sha256" && value->is_string();
      out["tasks"][task][key] = hash ? Json(value->as_string("").substr(0, kShort)) : *value;
    }
  }
  const Json* reorder = field(entry.reorder_summary, {"avg_range_reduction"});
  if (reorder != nullptr && !reorder->is_null()) out["reorder_avg_range_reduction"] = *reorder;
  return out;
}

std::string csv_text(std::string_view text) {
  const bool formula =
      !text.empty() && std::string_view("=+-@\t\r").find(text[0]) != std::string_view::npos;
  return in_quotes(formula ? "'" + std::string(text) : std::string(text));
}

std::string log_csv(const std::vector<const LogEntry*>& entries) {
  std::vector<std::string> keys;
  for (const LogEntry* entry : entries) {
    visit_scalars(settings_of(*entry), [&](const std::string& key, const Json&) {
      if (std::ranges::find(keys, key) == keys.end()) keys.push_back(key);
    });
  }
  std::string out;
  for (size_t i = 0; i < kFixed.size(); ++i) {
    if (i > 0) out += ",";
    out += kFixed[i];
    if (i + 1 != kBeforeConfig) continue;
    for (const std::string& key : keys) {
      const bool taken = std::ranges::find(kFixed, key) != kFixed.end();
      out += "," + csv_text(taken ? "config." + key : key);
    }
  }
  out += "\r\n";
  for (const LogEntry* entry : entries) out += csv_row(*entry, keys);
  return out;
}

}  // namespace scute
