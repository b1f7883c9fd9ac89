#include "cli/experiments/eval_log.h"

#include <fmt/format.h>

#include "cli/terminal/interrupt.h"
#include "cli/terminal/machine.h"
#include "cli/terminal/progress.h"
#include "cli/terminal/words.h"
#include "scute/base/error.h"
#include "scute/experiments/log.h"

namespace scute::cli {

void LogFailure::declare(Options& options) {
  options.choice("--log-failure", means, {"fail", "ignore"},
                 "a record that cannot be kept ends with exit code 3, or with 0");
}

void EvalLog::declare(Options& options) {
  options.text("--log", path, "FILE", "add a record to this experiment log");
  failure.declare(options);
  options.only_with({"--log-failure"}, "--log FILE");
}

void EvalLog::check() const {
  if (!path.empty()) check_log(path);
}

int EvalLog::add(const std::function<EvaluationFacts()>& facts, const Call& call, const Job& job,
                 double seconds, std::string* id) const {
  if (path.empty()) return kDone;
  EvaluationFacts all = facts();
  all.command = call.command();
  all.timestamp = local_time("%Y-%m-%d %H:%M:%S");
  all.seconds = seconds;
  all.machine = machine_json(job.threads);
  try {
    const HoldInterrupts hold;
    log_evaluation(path, all);
    note(job.quiet, fmt::format("recorded in {}", path));
    if (id != nullptr) *id = record_id(all);
    return kDone;
  } catch (const Error& error) {
    warn(fmt::format("not recorded: {}", error.what()));
    return failure.exit_code(false);
  }
}

}  // namespace scute::cli
