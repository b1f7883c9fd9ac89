// Runs the built scute program as a user would, and says how it ended.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "scute/io/testing.h"

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

using TemporaryFolder = fixtures::Folder;

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
/// This process becomes the program that the first word names; exit code 127 when it cannot.
[[noreturn]] void become(const std::vector<std::string>& words);
/// A command line in the shell, with the program's folder first in PATH.
Ended shell(const std::string& line, const std::string& folder = "");

}  // namespace scute
