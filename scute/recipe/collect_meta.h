// Where statistics come from: what a statistics file says of model, data and settings.
#pragma once

#include "scute/recipe/collect.h"

namespace scute {

/// Names, hashes, sampling and the exact windows. Holds nothing that does not influence the result
/// (threads, output path, time), so that equal collections are equal files.
Json collection_meta(const ModelDescription& model, const CollectOptions& options,
                     const Windows& windows, int64_t tokens);

}  // namespace scute
