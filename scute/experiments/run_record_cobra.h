// A Cobra's evaluation against a reference as a record of the log.
#pragma once

#include "scute/cobra/compare.h"
#include "scute/experiments/evaluation_record.h"

namespace scute {

/// Score, items and results of a comparison with the reference of this hash.
void add_pictures(const PictureComparison& comparison, const std::string& images,
                  const std::string& against_sha256, EvaluationFacts& facts);

/// Without command, time and machine.
EvaluationFacts cobra_facts(const CobraDescription& model, const CobraDescription& against,
                            const PictureComparison& comparison, const CobraCompareOptions& options,
                            const Execution& execution);

}  // namespace scute
