// What a model's folder holds beside its weights for text: checked, copied, and what ends a text.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "scute/language/model_folder.h"
#include "scute/recipe/folder_writer.h"

namespace scute {

/// tokenizer.json and the small files beside it that say how text becomes ids and back. `part`:
/// where in the folder, "" or a name with a slash at its end.
void copy_tokenizer(const ModelDescription& model, const FolderWriter& folder,
                    const std::string& part = "");

/// The ids that end a text: eos_token_id of generation_config.json, else of config.json, a number
/// or a list of them; nothing when neither says. Error naming file and value for anything else.
std::vector<int32_t> end_tokens(const ModelDescription& model);

/// What ends a text where a model's files do not say.
inline constexpr const char* kEndOfText = "<|endoftext|>";
/// The ids at which generation stops: end_tokens(), else the tokenizer's <|endoftext|>, if it has
/// that token.
std::vector<int32_t> stop_tokens(const ModelDescription& model, const Tokenizer& tokenizer);

/// Error when the folder's tokenizer knows more ids than the model has rows: what would be written
/// could not be used. One that cannot be read is left to whoever needs it.
void check_tokenizer(const ModelDescription& model);

}  // namespace scute
