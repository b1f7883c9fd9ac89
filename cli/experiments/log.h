// The parts of `scute log`.
#pragma once

#include <string>
#include <vector>

#include "cli/terminal/output.h"
#include "scute/experiments/log.h"

namespace scute::cli {

using Entries = std::vector<const LogEntry*>;

/// The experiments as a table for a terminal, for GitHub, and for programs.
std::string list_text(const Entries& entries);
std::string list_markdown(const Entries& entries);
Json list_json(const ExperimentLog& log, const Entries& entries);
/// Why no experiment matches: what keys there are, which are spelled alike, which values occur.
std::string no_match_text(const ExperimentLog& log, const std::vector<std::string>& terms);

/// Two experiments: configurations, results with verdicts, ranges.
std::string compare_text(const ExperimentLog& log, const LogEntry& a, const LogEntry& b);
Json compare_json(const ExperimentLog& log, const LogEntry& a, const LogEntry& b);

/// What any share kept would clip, from the values in an .npz. `alphas` empty: the one in the
/// file's name, else 0.9995, 0.99999 and 1.
void show_activations(const std::string& path, std::vector<double> alphas, bool json, Output& out);

}  // namespace scute::cli
