// Whether there is room for what work will need, looked at before it begins.
#pragma once

#include <cstdint>
#include <string>

namespace scute::cli {

/// The folder that an output lies in; "." for a name without a slash.
std::string output_folder(const std::string& output);

/// Warns when `bytes` of memory are not there, and names --memory.
void warn_of_memory(int64_t bytes);
/// Warns when the disk of an output has no room for `what`, which may take so many bytes.
void warn_of_disk(const std::string& output, int64_t bytes, const std::string& what);
/// Error when it has none for what will surely take so many.
void require_disk(const std::string& output, int64_t bytes, const std::string& what);

}  // namespace scute::cli
