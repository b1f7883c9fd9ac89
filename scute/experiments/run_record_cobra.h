// A Cobra's evaluation against a reference as a record of the log.
#pragma once

#include "scute/cobra/compare.h"
#include "scute/experiments/evaluation_record.h"

namespace scute {

/// The named metrics of a comparison, with an item a picture: divergence and sameness of the next
/// token, then of each stage relative error and cosine. `against_sha256`: of the reference's
/// folder.
Score picture_score(const PictureComparison& comparison, const std::string& images,
                    const std::string& against_sha256);

/// Without command, time and machine.
EvaluationFacts cobra_facts(const CobraDescription& model, const CobraDescription& against,
                            const PictureComparison& comparison, const CobraCompareOptions& options,
                            const Execution& execution);

}  // namespace scute
