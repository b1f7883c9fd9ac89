// Whether what a language model is scored on was in its calibration too.
#pragma once

#include "scute/data/documents.h"
#include "scute/data/overlap.h"
#include "scute/language/scoring.h"

namespace scute {

/// Of the tokens that are scored with these options, those in a row of kSharedTokens that stands in
/// a calibration window too (passages that are shorter: as a whole). Milliseconds for 10^5 tokens.
Overlap scored_overlap(const Windows& calibration, const ScoreWork& work,
                       const ScoreOptions& options);

}  // namespace scute
