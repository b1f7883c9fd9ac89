// The tokenizer of a model, copied into a folder that is being written.
#pragma once

#include <string>

#include "scute/language/model_folder.h"
#include "scute/recipe/folder_writer.h"

namespace scute {

/// tokenizer.json and the small files beside it that say how text becomes ids and back. `part`:
/// where in the folder, "" or a name with a slash at its end.
void copy_tokenizer(const ModelDescription& model, const FolderWriter& folder,
                    const std::string& part = "");

}  // namespace scute
