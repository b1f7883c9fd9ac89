// Runs the built scute program as a user would, and says how it ended.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace scute {

struct Ended {
  int code = -1;         ///< exit code; 128 + the signal's number when a signal ended it
  std::string out, err;  ///< standard output and error
};

struct Surroundings {
  std::string folder;                   ///< working directory; empty: this one
  std::string standard_output;          ///< a file for standard output, e.g. /dev/full
  std::optional<int64_t> largest_file;  ///< bytes a file may grow to: a full disk for tests
  std::string program = SCUTE_PROGRAM;
};

/// A new folder, removed with everything in it at the end.
class TemporaryFolder {
 public:
  /// In `parent`; empty: where the system keeps what is temporary.
  explicit TemporaryFolder(const std::string& parent = "");
  ~TemporaryFolder();
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;

  std::string path(const std::string& name = "") const { return (folder_ / name).string(); }
  /// Names in the folder, sorted.
  std::vector<std::string> names() const;

 private:
  std::filesystem::path folder_;
};

/// A started program; it must be ended by wait().
class Child {
 public:
  Child(const std::vector<std::string>& arguments, const Surroundings& surroundings = {});
  void send(int signal) const;
  Ended wait();

 private:
  TemporaryFolder written_;  ///< what it writes to standard output and error
  std::string standard_output_;
  pid_t pid_ = -1;
};

/// Starts the program and waits for it.
Ended scute_program(const std::vector<std::string>& arguments,
                    const Surroundings& surroundings = {});
/// A command line in the shell, with the program's folder first in PATH.
Ended shell(const std::string& line, const std::string& folder = "");

}  // namespace scute
