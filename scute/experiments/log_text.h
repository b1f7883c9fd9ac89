// The log as tables: the numbers that stand for one experiment, and CSV.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "scute/evaluate/score.h"
#include "scute/experiments/log.h"

namespace scute {

/// One number of a result under the name that CSV and MLflow have for it.
struct NamedNumber {
  std::string name;
  std::optional<double> value;
};
/// Of each metric NAME and NAME_stderr, and behind the last one of a group GROUP_n, how many items.
std::vector<NamedNumber> result_numbers(const Score& score);

/// Mean of range_reduction over the sites of activation_stats, found without parsing them; empty
/// when there is none (or no finite one: other tools divide by ranges of 0).
std::optional<double> mean_range_reduction(const LogEntry& entry);

/// The scalar members of an object in order, nested ones as "outer.inner"; arrays as JSON text.
void visit_scalars(const Json& object,
                   const std::function<void(const std::string& key, const Json& value)>& visit);

/// config, and behind it what else decides or explains a result: "sha256" (short hashes), "tasks"
/// (files and protocol of what was scored), "reorder_avg_range_reduction". Only what is
/// there.
Json settings_of(const LogEntry& entry);

/// RFC 4180: a title line, then one line an experiment: number, id, timestamp, command, every key
/// of settings_of() in any, results with standard errors and numbers of items. Null and absent are
/// empty. Texts are csv_text() (base/csv.h), which keeps spreadsheets from computing them; numbers
/// stay numbers.
std::string log_csv(const std::vector<const LogEntry*>& entries);

}  // namespace scute
