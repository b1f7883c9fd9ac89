// Statistics files: .safetensors (complete) and .pt (the schema of other tools, complete too).
#pragma once

#include <string>
#include <vector>

#include "scute/io/input.h"
#include "scute/models/sites.h"
#include "scute/observe/statistics_file.h"

namespace scute {

/// By the name's ending, .safetensors or .pt; atomic. A .safetensors of a part holds the hash of
/// its content (scute/io/sealed_tensors.h), which is looked at whenever it is read. In a .pt, where
/// one of the four buckets was measured, the buckets alone are top-level keys and the other sites
/// are in meta, "inner_sites": tools of this field take every top-level name with "dino" in it for
/// the bucket.
void write_statistics(const std::string& path, const StatisticsSet& statistics);
/// Reads either; Error naming file, site and key on anything inconsistent.
StatisticsSet read_statistics(const InputFile& file);
StatisticsSet read_statistics(const std::string& path);
/// Merged in any order they give the same bytes. Error naming the two files that do not belong
/// together and why.
StatisticsSet merge_statistics(const std::vector<std::string>& paths);
/// Error naming the first site, in the order of `sites`, that saw a value which is not finite, and
/// how many others did.
void require_finite(const SiteList& sites, const StatisticsSet& statistics);

}  // namespace scute
