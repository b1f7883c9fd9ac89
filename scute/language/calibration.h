// The texts that a model is measured on: read, cut, and named so that anyone can find them again.
#pragma once

#include <atomic>
#include <string>
#include <vector>

#include "scute/data/documents.h"
#include "scute/language/model_folder.h"

namespace scute {

/// Documents of `files` cut into windows. Error when text needs a tokenizer and there is none, and
/// when special tokens are wanted and there is no text, or once *cancelled is set.
Windows calibration_windows(const ModelDescription& model, const std::vector<std::string>& files,
                            const WindowOptions& options, const TextInput& input,
                            const Threads& threads = Threads(1),
                            const std::atomic<bool>* cancelled = nullptr);

/// "special_tokens": true and "bad_lines": how many, where they are not what is usual (absent: no
/// token was added, no line left out).
void record_input(const TextInput& input, const BadLines& bad, Json& meta);

/// {"files": [{"file", "sha256"}, …], "windows": [[document, first token, tokens], …] ascending}.
Json data_json(const std::vector<std::string>& files, const Windows& windows,
               const TextInput& input);

/// Whether a low-bit model's recipe names a file of this SHA-256 among those that its ranges or
/// Hessians were measured on. False without a recipe.json.
bool calibrated_on(const ModelDescription& model, const std::string& sha256);

}  // namespace scute
