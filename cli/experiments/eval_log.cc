#include "cli/experiments/eval_log.h"

#include <fmt/format.h>

#include "cli/terminal/interrupt.h"
#include "cli/terminal/machine.h"
#include "cli/terminal/progress.h"
#include "cli/terminal/words.h"
#include "scute/base/error.h"
#include "scute/experiments/log.h"

namespace scute::cli {

void EvalLog::declare(Options& options) {
  options.text("--log", path, "FILE", "add a record to this experiment log");
}

void EvalLog::check() const {
  if (!path.empty()) check_log(path);
}

void EvalLog::add(EvaluationFacts facts, const Call& call, const Job& job, double seconds) const {
  facts.command = call.command();
  facts.timestamp = local_time("%Y-%m-%d %H:%M:%S");
  facts.seconds = seconds;
  facts.machine = machine_json(job.threads);
  try {
    const HoldInterrupts hold;
    log_evaluation(path, facts);
    note(job.quiet, fmt::format("recorded in {}", path));
  } catch (const Error& error) {
    warn(fmt::format("not recorded: {}", error.what()));
  }
}

}  // namespace scute::cli
