// A language model's evaluation as a record of the log.
#pragma once

#include <string>

#include "scute/experiments/evaluation_record.h"
#include "scute/language/scoring.h"

namespace scute {

/// Without command, time and machine. Reads and hashes the files that were scored.
EvaluationFacts language_facts(const ModelDescription& model, const Scores& scores,
                               const ScoreWork& work, const ScoreOptions& options,
                               const Execution& execution);

}  // namespace scute
