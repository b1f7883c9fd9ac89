// eval --log: the record of an evaluation, of any kind of model.
#pragma once

#include <string>

#include "cli/terminal/options.h"
#include "scute/experiments/evaluation_record.h"

namespace scute::cli {

/// --log FILE of an evaluation.
struct EvalLog {
  std::string path;  ///< empty: no record

  void declare(Options& options);
  /// Adds the record, with command, time and machine; a failure warns: the results are not lost for
  /// it.
  void add(EvaluationFacts facts, const Call& call, int threads, double seconds, bool quiet) const;
};

}  // namespace scute::cli
