// Runs command lines for the tests of flags, and tells what came of them.
#pragma once

#include <map>
#include <string>
#include <string_view>

#include "cli/verbs.h"

namespace scute {

struct Effect {
  int code = 0;
  std::string error;
  std::map<std::string, std::string> files;  ///< "": what was said; hashes
  bool operator==(const Effect& other) const { return code == other.code && files == other.files; }
};

/// The words of a line; "~" stands for a blank inside one.
cli::Arguments words_in(std::string_view line);
/// Of a command line in this process, with small models and files in place of names in capitals: a
/// thousand programs would take a minute to start.
Effect run_line(std::string_view verb, const std::string& line);

}  // namespace scute
