// A regressor's evaluation as JSON, as a record of the log, and as a page.
#pragma once

#include <string>

#include "scute/base/json.h"
#include "scute/experiments/evaluation_record.h"
#include "scute/experiments/positions/page.h"
#include "scute/regressor/evaluation.h"

namespace scute {

/// {"model", "stages", "diagnosis", "sensitivity", "nonfinite", "remarks", …}: everything that was
/// found, metres and shares; what has no value is null.
Json evaluation_json(const RegressorCheckpoint& checkpoint, const RegressorEvalOptions& options,
                     const RegressorEvaluation& evaluation);

/// For a line of the experiment log (docs/formats.md): the quantized stage, or the only one, with
/// every window's error; `results.tasks.positions` has its errors and the baseline's. Without
/// command, time and machine. `out_dir`: relative to the log's folder; "" for none.
EvaluationFacts position_facts(const RegressorCheckpoint& checkpoint,
                               const RegressorEvalOptions& options,
                               const RegressorEvaluation& evaluation,
                               const std::string& model_sha256, const std::string& out_dir);

/// Layers, divergence and sensitivity as tables.
std::vector<PageTable> diagnosis_tables(const RegressorEvaluation& evaluation);

}  // namespace scute
