// Two Cobra models compared on pictures, as named metrics.
#pragma once

#include <string>

#include "scute/cobra/compare.h"
#include "scute/evaluate/score.h"

namespace scute {

/// The named metrics of a comparison, with an item a picture: divergence and sameness of the next
/// token, then of each stage relative error and cosine. `against_sha256`: of the reference's
/// folder.
Score picture_score(const PictureComparison& comparison, const std::string& images,
                    const std::string& against_sha256);

}  // namespace scute
