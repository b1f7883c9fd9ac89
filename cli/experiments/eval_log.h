// eval --log: the record of an evaluation, of any kind of model.
#pragma once

#include <string>

#include "cli/terminal/job.h"
#include "cli/terminal/options.h"
#include "scute/experiments/evaluation_record.h"

namespace scute::cli {

/// --log FILE of an evaluation.
struct EvalLog {
  std::string path;  ///< empty: no record

  void declare(Options& options);
  /// Before the work: Error when no record can be added there.
  void check() const;
  /// Adds the record, with command, time and machine; a failure warns: the results are not lost for
  /// it.
  void add(EvaluationFacts facts, const Call& call, const Job& job, double seconds) const;
};

}  // namespace scute::cli
