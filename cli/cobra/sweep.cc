// scute sweep for Cobra: every combination of models, rules and bits; ranked.
#include <memory>
#include <utility>

#include "cli/cobra/experiment_flags.h"
#include "cli/cobra/memory.h"
#include "cli/described.h"
#include "cli/experiments/sweep_work.h"
#include "cli/form.h"
#include "cli/terminal/words.h"
#include "scute/cobra/percentile_tables.h"

namespace scute::cli {
namespace {

struct CobraSweepRequest {
  SweepFlags sweep{.otherwise = std::string(kDefaultPolicy)};
  CobraExperimentFlags flags;

  void declare(Options& options) {
    sweep.declare(options);
    flags.declare(options, QuantizeFlags::Bits::lists);
  }
  std::string part() const { return part_name(sweep.launched); }
  void check() const {
    flags.check();
    sweep.check(flags.formats());
  }
};

int run(CobraSweepRequest& request, const Call& call, Output& out) {
  const CobraExperimentFlags& flags = request.flags;
  SweepWork work;
  work.models = words_of(request.sweep.models);
  work.log = flags.shared.log;
  work.log_failure = flags.log_failure;
  work.job = flags.job;
  work.launched = request.sweep.launched;
  work.settings = request.sweep.settings(flags.setting(call.command()), flags.formats());
  work.subject = [&](const std::string& model, RunHow how) {
    const CobraSubjectOptions subject = flags.subject(model);
    how.plan = cobra_experiment_planner(flags.job, described_cobra(model, flags.job.quiet), subject,
                                        work.settings);
    return std::make_unique<CobraSubject>(subject, std::move(how));
  };
  work.plan = [&](const std::string& model) {
    cobra_experiment_planner(flags.job, described_cobra(model, true), flags.subject(model),
                             work.settings);
  };
  return run_sweep(work, out);
}

}  // namespace

Form cobra_sweep_form() {
  return form<CobraSweepRequest>(
      {.kind = ModelKind::cobra,
       .summary = "every combination of Cobras, rules and bits, each measured once; ranked",
       .example = "scute sweep --models tests/golden/cobra/model --images "
                  "tests/golden/cobra/pictures --policies tail,minmax,auto"});
}

}  // namespace scute::cli
