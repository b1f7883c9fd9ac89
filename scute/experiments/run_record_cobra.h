// A Cobra's evaluation against a reference as a record of the log.
#pragma once

#include "scute/cobra/compare.h"
#include "scute/experiments/evaluation_record.h"

namespace scute {

/// Without command, time and machine.
EvaluationFacts cobra_facts(const CobraDescription& model, const CobraDescription& against,
                            const PictureComparison& comparison, const CobraCompareOptions& options,
                            const Execution& execution);

}  // namespace scute
