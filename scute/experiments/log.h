// The experiment log: one JSON object a line, only ever added to.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "scute/base/json.h"

namespace scute {

/// One complete line of the log. What a listing needs is parsed; activation_stats, the bulk of a
/// line, only by record(). Members that a line lacks are null or empty: logs of other tools have
/// no id, hashes, files.
struct LogEntry {
  int64_t number = 0;  ///< place among the complete lines, from 1; never changes, as logs only grow
  std::string id, timestamp, command;
  Json config, reorder_summary, results, hashes, files;
  std::string_view text;  ///< the line; lives as long as the log

  /// The whole line; Error naming the log and the line when its skipped parts are no JSON.
  Json record(std::string_view where) const;
};

struct ExperimentLog {
  std::string path;
  std::vector<LogEntry> entries;     ///< in the order of the file
  std::vector<std::string> remarks;  ///< lines that were skipped, and why
  bool cut_short = false;            ///< the last line is a record that a crash tore

  /// "12" (a number of the listing), "-1" (the last), or the first 4 or more digits of an id (the
  /// last entry that has it). Error when there is none, or ids of several kinds begin so.
  const LogEntry& find(std::string_view which) const;
  /// The folder of the log, which names in `files` are relative to.
  std::string folder() const;

  std::shared_ptr<const std::string> bytes;  ///< what entries point into
};

/// The path of a file that a record names, which is not trusted: empty unless the name is relative
/// and stays inside the log's folder.
std::string path_beside(const std::string& folder, const std::string& name);

/// Error when there is no such file. A line that is no complete JSON object (a torn one, after a
/// crash) is skipped with a remark, never fatal. Only what entries hold is parsed: 100 MB take well
/// below a second.
ExperimentLog read_log(const std::string& path);

/// Error when there is something at `path` that no record can be added to, as a folder, or none
/// belongs into: a file without one, unless it is empty or a torn record.
void check_log(const std::string& path);

/// Adds a line under a lock, complete or not at all, on disk when this returns. The log's folder is
/// made when missing.
void append_record(const std::string& path, const Json& record);

/// Whether an entry is asked for: "KEY: VALUE" matches a member of that name at any depth of
/// config, VALUE being JSON (null, true, 0.9995, "auto") or a bare string; numbers match by value
/// (1 and 1.0). Anything else matches as a piece of config.model or command, case ignored.
bool matches(const LogEntry& entry, std::string_view term);

}  // namespace scute
