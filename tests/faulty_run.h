// A run of the program in which the system fails it once, where it changes a file.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace scute {

/// What happens instead of the call.
struct Fault {
  enum class Kind {
    none,
    error,      ///< it fails with `code`
    shortened,  ///< of a write: half of it is written
    killed,     ///< the program is killed before it
  } kind = Kind::none;
  int code = 0;    ///< errno
  int64_t at = 0;  ///< which of the calls that change files, from 0
};

struct FaultyRun {
  int code = -1;         ///< exit code; 128 + the signal's number when a signal ended it
  int64_t calls = 0;     ///< that would change what lies below the folder, by the first thread
  bool applied = false;  ///< the fault
  std::string what;      ///< the call that it struck, e.g. "write"
};

/// Runs the built scute program; counted are the calls that change what lies below `folder`. Of
/// those, syncs succeed and do nothing: a file that is not on disk yet is read all the same, and
/// where others keep the disk busy they would take most of the time.
FaultyRun faulty_run(const std::vector<std::string>& arguments, const std::string& folder,
                     const Fault& fault);

}  // namespace scute
