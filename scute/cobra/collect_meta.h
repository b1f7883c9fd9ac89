// Where the statistics of pictures come from: what their file says of model, data and settings.
#pragma once

#include <span>
#include <string>

#include "scute/cobra/collect.h"
#include "scute/cobra/picture_reader.h"

namespace scute {

/// Names, hashes, what was measured and what was not. `used`: the pictures measured, in
/// order. Holds nothing that does not influence the statistics (threads, output path, time, and
/// how pictures are split into batches unless values were sampled), so that equal collections are
/// equal files.
Json cobra_collection_meta(const CobraDescription& model, const CobraCollectOptions& options,
                           const CobraCollectResult& result,
                           std::span<const PictureReader::Used> used, const PictureTexts& texts);

/// SHA-256 over names and contents of the folder's pictures, in order, readable or not.
std::string hash_pictures(const std::string& folder);

/// Everything that decides what collect_cobra() measures: model, tokenizer, pictures
/// (hash_pictures), texts, every option, the instruction set. Equal keys, equal statistics.
Json cobra_collection_key(const std::string& model_sha256, const std::string& tokenizer_sha256,
                          const std::string& pictures_sha256, const CobraCollectOptions& options);

/// What decides the text of each picture; `tokenizer` apart, by its hash.
Json text_key(const TextOptions& text);

}  // namespace scute
