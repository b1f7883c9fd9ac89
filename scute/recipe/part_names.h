// How the files of parts are named, and what of a folder they are.
#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <string_view>

#include "scute/base/shard.h"

namespace scute {

/// FOLDER/part-I-of-N and the ending.
std::string part_file(const std::string& folder, const Shard& shard, std::string_view ending);

/// The parts of one ending in a folder.
struct FoundParts {
  int64_t of = 0;                    ///< 0: there are none
  std::set<int64_t> parts, writing;  ///< by index; those that are there, and being written
};
/// Error when there are parts of two numbers, or the folder cannot be read.
FoundParts find_parts(const std::string& folder, std::string_view ending);
/// The same for who is about to write one of them: Error when there are parts of another number.
FoundParts find_parts_of(const std::string& folder, std::string_view ending, const Shard& shard);

}  // namespace scute
