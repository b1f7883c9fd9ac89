// Statistics kept beside an experiment log, under the key of their collection.
#pragma once

#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "scute/observe/statistics_file.h"

namespace scute {

/// The folders beside a log that experiments write into: what is there is no input of theirs.
std::vector<std::string> written_beside(const std::string& log);

struct KeptStatistics {
  std::filesystem::path folder;      ///< of the log
  std::string key;                   ///< of the collection: SHA-256
  std::optional<StatisticsSet> set;  ///< once measure() was called
  std::string file, sha256;          ///< below `folder`; empty: not stored

  /// From memory, from the file, or by `pass`, then stored; whether a pass was saved. What cannot
  /// be read or stored is a warning.
  bool measure(const std::function<StatisticsSet()>& pass, std::vector<std::string>& warnings);

 private:
  bool read_stored(const std::string& path, std::vector<std::string>& warnings);
  void store(std::vector<std::string>& warnings);
};

}  // namespace scute
