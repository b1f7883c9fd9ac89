#include "cli/experiments/eval_log.h"

#include <fmt/format.h>

#include "cli/terminal/interrupt.h"
#include "cli/terminal/machine.h"
#include "cli/terminal/progress.h"
#include "cli/terminal/words.h"
#include "scute/base/error.h"
#include "scute/base/threads.h"
#include "scute/kernels/gemm.h"

namespace scute::cli {

void EvalLog::declare(Options& options) {
  options.text("--log", path, "FILE", "add a record to this experiment log");
}

void EvalLog::add(EvaluationFacts facts, const Call& call, const Job& job, double seconds) const {
  if (path.empty()) return;
  facts.command = call.command();
  facts.timestamp = local_time("%Y-%m-%d %H:%M:%S");
  facts.seconds = seconds;
  facts.machine["processor"] = processor_name();
  facts.machine["threads"] = Threads(job.threads).count();
  facts.machine["instruction_set"] = std::string(highway_target());
  try {
    const HoldInterrupts hold;
    log_evaluation(path, facts);
    note(job.quiet, fmt::format("recorded in {}", path));
  } catch (const Error& error) {
    warn(fmt::format("not recorded: {}", error.what()));
  }
}

}  // namespace scute::cli
