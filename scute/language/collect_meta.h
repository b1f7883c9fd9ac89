// Where statistics come from: what a statistics file says of model, data and settings.
#pragma once

#include <string>

#include "scute/language/collect.h"

namespace scute {

/// Names, hashes, sampling and the exact windows. Holds nothing that does not influence the result
/// (threads, output path, time), so that equal collections are equal files.
Json collection_meta(const ModelDescription& model, const CollectOptions& options,
                     const Windows& windows, int64_t tokens);

/// Everything that decides what collect() measures: model, tokenizer, the data files'
/// contents, every option, the instruction set. Equal keys, equal statistics.
Json collection_key(const std::string& model_sha256, const std::string& tokenizer_sha256,
                    const CollectOptions& options);

}  // namespace scute
