// One experiment of any kind of model: run, watched and shown.
#pragma once

#include <functional>
#include <string>

#include "cli/experiments/experiment_flags.h"

namespace scute::cli {

/// What `work` finds, in words or as JSON; `log` is where it is recorded. The exit code: also of an
/// interruption, which ends `work` by an Error. Error after everything was shown when scores are
/// not finite.
int run_experiment(const std::string& log, const LogFailure& failure, const Job& job,
                   const std::function<Experiment(RunHow how)>& work, Output& out);

/// setting's rule as --policy and --percentile-alpha say; `otherwise` without both.
void use_rule(const PolicyFlags& rule, const std::string& otherwise, Setting& setting);

}  // namespace scute::cli
