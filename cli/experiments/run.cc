// scute run: collect, decide, quantize, score and record, in one command.
#include "scute/experiments/run.h"

#include <utility>

#include "cli/described.h"
#include "cli/experiments/experiment_flags.h"
#include "cli/experiments/run_experiment.h"
#include "cli/form.h"
#include "cli/language/memory.h"

namespace scute::cli {
namespace {

struct RunRequest {
  std::string model;
  ExperimentFlags flags;
  PolicyFlags rule;

  void declare(Options& options) {
    options.model(model);
    rule.declare(options, "auto");
    flags.declare(options, QuantizeFlags::Bits::any);
  }
  void check() const { flags.check(); }
};

int run(RunRequest& request, const Call& call, Output& out) {
  const auto& flags = request.flags;
  Setting setting = flags.setting(call.command());
  const ModelDescription model = described(request.model, flags.job.quiet);
  use_rule(request.rule, "auto", setting);
  const auto plan = experiment_planner(flags.job, model, flags.subject(request.model), {setting});
  const auto work = [&](RunHow how) {
    how.plan = plan;
    Subject subject(flags.subject(request.model), std::move(how));
    warn_of_overlap(subject);
    setting.checkpoint = checkpoint_folder(flags, subject.name(), setting);
    return subject.run(setting);
  };
  return run_experiment(flags.shared.log, flags.log_failure, flags.job, work, out);
}

}  // namespace

Form language_run_form() {
  return form<RunRequest>(
      {.kind = ModelKind::language,
       .example =
           "scute run examples/tiny-mamba1 --data examples/text/calibration.jsonl --samples 32 "
           "--percentile-alpha 0.9995 --tasks perplexity --eval-data examples/text/heldout.txt "
           "--window 512 --max-windows 8"});
}

}  // namespace scute::cli
