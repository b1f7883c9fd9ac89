// Which files of a folder are its checkpoint: internal to this folder.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

namespace scute {

/// A checkpoint's files, and for sharded ones which tensors each must hold.
struct CheckpointListing {
  std::vector<std::string> files;                         ///< paths, in reading order
  std::map<std::string, std::set<std::string>> expected;  ///< by path; empty without an index
  std::string remark;  ///< which file of another name it is; "" for the usual ones
};

/// As checkpoint_files() says; `folder` may also be one file.
CheckpointListing list_checkpoint(const std::string& folder);

}  // namespace scute
