// scute run for Cobra: collect, decide, quantize, compare with the float model and record.
#include <utility>

#include "cli/cobra/experiment_flags.h"
#include "cli/cobra/memory.h"
#include "cli/described.h"
#include "cli/experiments/run_experiment.h"
#include "cli/form.h"
#include "scute/cobra/percentile_tables.h"

namespace scute::cli {
namespace {

struct CobraRunRequest {
  std::string model;
  CobraExperimentFlags flags;
  PolicyFlags rule;

  void declare(Options& options) {
    options.model(model);
    rule.declare(options, "tail for buckets, auto inside them");
    flags.declare(options, QuantizeFlags::Bits::any);
  }
  void check() const { flags.check(); }
};

int run(CobraRunRequest& request, const Call& call, Output& out) {
  const auto& flags = request.flags;
  Setting setting = flags.setting(call.command());
  use_rule(request.rule, std::string(kDefaultPolicy), setting);
  const CobraSubjectOptions subject = flags.subject(request.model);
  const auto plan = cobra_experiment_planner(
      flags.job, described_cobra(request.model, flags.job.quiet), subject, {setting});
  const auto work = [&](RunHow how) {
    how.plan = plan;
    return CobraSubject(subject, std::move(how)).run(setting);
  };
  return run_experiment(flags.shared.log, flags.log_failure, flags.job, work, out);
}

}  // namespace

Form cobra_run_form() {
  return form<CobraRunRequest>(
      {.kind = ModelKind::cobra,
       .summary = "one experiment: collect, decide, quantize, compare with floats, record",
       .example = "scute run tests/golden/cobra/model --images tests/golden/cobra/pictures "
                  "--policy minmax"});
}

}  // namespace scute::cli
