// eval --log: the record of an evaluation, of any kind of model.
#pragma once

#include <functional>
#include <string>

#include "cli/terminal/job.h"
#include "cli/terminal/options.h"
#include "scute/experiments/evaluation_record.h"

namespace scute::cli {

/// --log-failure: what it means for the exit code that results were found but not recorded.
struct LogFailure {
  std::string means = "fail";

  void declare(Options& options);
  int exit_code(bool recorded) const {
    return recorded || means == "ignore" ? kDone : kNotRecorded;
  }
};

/// --log FILE and --log-failure of an evaluation.
struct EvalLog {
  std::string path;  ///< empty: no record
  LogFailure failure;

  void declare(Options& options);
  /// Before the work: Error when no record can be added there.
  void check() const;
  /// Adds the record, if there is a log, with command, time and machine; the exit code. A failure
  /// warns: the results are not lost for it. `id` (may be null): of the record that the log now
  /// holds; else untouched.
  int add(const std::function<EvaluationFacts()>& facts, const Call& call, const Job& job,
          double seconds, std::string* id = nullptr) const;
};

}  // namespace scute::cli
