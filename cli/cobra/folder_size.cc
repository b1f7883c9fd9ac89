#include "cli/cobra/folder_size.h"

#include <filesystem>

#include "scute/io/file.h"

namespace scute::cli {

int64_t weight_bytes(const std::string& folder) {
  int64_t out = 0;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder)) {
    if (entry.path().filename() == "model.safetensors") out += file_size(entry.path().string());
  }
  return out;
}

}  // namespace scute::cli
