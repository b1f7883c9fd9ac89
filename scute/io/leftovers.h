// What writers left that did not end as they should: found, and removed when they are gone.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace scute {

/// A claim (claim.h) that was not given up: of an output, of an experiment that is run, or of a
/// scratch file.
struct Leftover {
  enum class Writer {
    living,   ///< it holds the lock
    gone,     ///< proven: any next writer of this name would take it over
    unknown,  ///< of another host, on a file system without locks, or it came no further than to
              ///< make the folder, or the marker in it: a person must know
    nobody    ///< its marker has no record of scute's, and something lies beside it: never removed
  };
  std::string target;  ///< what was to be written; the leftover is the folder TARGET.writing
  Writer writer = Writer::unknown;
  std::string who = {};  ///< "process 7 on this host since …"; "" when it did not come to say so
  bool unfinished = false;  ///< holds a checkpoint: the same command would go on there
  int64_t bytes = 0;        ///< of all files in it
  double age = 0;           ///< seconds since anything in it was changed

  std::string folder() const { return target + ".writing"; }
};

struct LeftoverSearch {
  int depth = 4;              ///< folders below each other, at most
  int64_t entries = 100'000;  ///< looked at, at most
};

struct Leftovers {
  std::vector<Leftover> found;  ///< sorted by target
  bool all = true;              ///< false: the search ended at its bounds
};

/// Those in a folder and in the folders in it, links not followed. A folder called so that has
/// neither a marker nor is empty is somebody's, and none. What a dead writer left of a log's lock
/// (append_lock()) is one, its writer unknown. Error when `folder` is none that
/// can be read.
Leftovers find_leftovers(const std::string& folder, const LeftoverSearch& search = {});

/// Removes it with what is unfinished in it, as the next writer would (an output that was complete
/// and about to be put in place is put there). Error when its writer lives, or is not known to be
/// gone, unless a person says so (`told`); and when something else lies in it, or its marker is not
/// scute's: then all of it stays.
void remove_leftover(const Leftover& leftover, bool told);

}  // namespace scute
