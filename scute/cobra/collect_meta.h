// Where the statistics of pictures come from: what their file says of model, data and settings.
#pragma once

#include <string>
#include <vector>

#include "scute/cobra/collect.h"

namespace scute {

/// Names, hashes, what was measured and what was not. `used`: the paths of the pictures measured,
/// in order. Holds nothing that does not influence the statistics (threads, output path, time, and
/// how pictures are split into batches unless values were sampled), so that equal collections are
/// equal files.
Json cobra_collection_meta(const CobraDescription& model, const CobraCollectOptions& options,
                           const CobraCollectResult& result, const std::vector<std::string>& used,
                           const PictureTexts& texts);

}  // namespace scute
