// The folder that the parts of one collection are written into, and their sum.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "scute/recipe/part.h"

namespace scute {

/// FOLDER/part-I-of-N.safetensors.
std::string part_file(const std::string& folder, const Shard& shard);
/// The same for who is about to write it: makes the folder. Error when there are parts of another
/// number.
std::string new_part_file(const std::string& folder, const Shard& shard);

struct MergedParts {
  StatisticsSet statistics;  ///< those of one collection, to the byte
  int64_t parts = 0;
  std::vector<std::string> silent;  ///< sites asked for that saw nothing in any part
};

/// How many statistics are in memory at once, and by how many threads they are read.
struct MergeLimits {
  int threads = 0;      ///< 0: all processors
  int64_t fan_in = 16;  ///< at least 2; each thread holds its sum and the part that it adds
};

/// The sum of all parts of a folder, the same bytes for any number of parts, threads and order.
/// Other files are left alone. Error naming what is missing, not finished or being written; the
/// file that is broken, of another number of parts, of another collection, or whose name says
/// another part than its contents.
MergedParts merge_parts(const std::string& folder, const MergeLimits& limits = {});

}  // namespace scute
