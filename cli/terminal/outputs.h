// Files that a verb is about to write.
#pragma once

#include <string>
#include <vector>

namespace scute::cli {

/// UsageError when two of `outputs` are one file, or one of them is an input. Empty names are none.
void refuse_same_files(const std::vector<std::string>& outputs,
                       const std::vector<std::string>& inputs);
/// Error when `path` is there and holds no statistics: somebody's model or data is not replaced.
void refuse_to_replace(const std::string& path);

}  // namespace scute::cli
