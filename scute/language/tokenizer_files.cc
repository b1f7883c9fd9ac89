#include "scute/language/tokenizer_files.h"

#include <filesystem>

namespace scute {

namespace fs = std::filesystem;

void copy_tokenizer(const ModelDescription& model, const FolderWriter& folder,
                    const std::string& part) {
  for (const char* name : {"tokenizer.json", "tokenizer_config.json", "special_tokens_map.json",
                           "generation_config.json"}) {
    const fs::path from = fs::path(model.path) / name;
    if (fs::exists(from)) folder.copy(from.string(), part + name);
  }
}

}  // namespace scute
