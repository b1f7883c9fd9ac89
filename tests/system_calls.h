// What a program asks of the system, in order.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace scute {

/// fsync of a file or folder, or a renaming; of the program's first thread.
struct SystemCall {
  enum class Kind { sync, rename } kind;
  std::string to = {};  ///< of a renaming: the new name
  uint64_t inode = 0;   ///< of what was synced
};

/// Runs the built scute program and lists those calls; `code` is how it ended.
std::vector<SystemCall> calls_of(const std::vector<std::string>& arguments, int& code);

}  // namespace scute
