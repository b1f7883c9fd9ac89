// The log as tables: the numbers that stand for one experiment, and CSV.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "scute/experiments/log.h"

namespace scute {

/// Results of one experiment; empty where the record has none. Accuracies are shares.
struct ResultNumbers {
  std::optional<double> accuracy, accuracy_error, last_word_perplexity, last_word_perplexity_error;
  std::optional<double> perplexity, perplexity_error;  ///< of a text, per token
  std::optional<double> last_words, windows;           ///< how many items
  /// Of a regressor: mean error, metres, and how many windows it is of.
  std::optional<double> position_error, position_error_error, positions;
};
/// Also of logs without tasks, whose accuracy and perplexity are those of the last-word task.
ResultNumbers result_numbers(const Json& results);

/// Mean of range_reduction over the sites of activation_stats, found without parsing them; empty
/// when there is none (or no finite one: other tools divide by ranges of 0).
std::optional<double> mean_range_reduction(const LogEntry& entry);

/// The scalar members of an object in order, nested ones as "outer.inner"; arrays as JSON text.
void visit_scalars(const Json& object,
                   const std::function<void(const std::string& key, const Json& value)>& visit);

/// config, and behind it what else decides or explains a result: "sha256" (short hashes), "tasks"
/// (files and protocol of what was scored), "reorder_avg_range_reduction". Only what is there.
Json settings_of(const LogEntry& entry);

/// RFC 4180: a title line, then one line an experiment: number, id, timestamp, command, every key
/// of settings_of() in any, results with standard errors and numbers of items. Null and absent are
/// empty. Text that a spreadsheet would take for a formula (it begins with = + - @ or a tab) gets a
/// leading apostrophe; numbers stay numbers.
std::string log_csv(const std::vector<const LogEntry*>& entries);

/// One field of such a file, as text.
std::string csv_text(std::string_view text);

}  // namespace scute
