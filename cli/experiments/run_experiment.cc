// What run shows of an experiment, of any kind of model.
#include "cli/experiments/run_experiment.h"

#include <fmt/format.h>

#include "cli/decide_text.h"
#include "cli/experiments/experiment_text.h"
#include "cli/terminal/words.h"
#include "scute/base/error.h"
#include "scute/experiments/log.h"

namespace scute::cli {
namespace {

std::string how_to_show(const std::string& log, const Json& record) {
  Arguments words{"log", "show", record.at("id", "").as_string("")};
  if (log != SubjectOptions().log) words.insert(words.end(), {"--log", log});
  return shell_command(words);
}

/// With --quiet the results, and where the rest is.
std::string experiment_words(const std::string& log, const Experiment& experiment, bool quiet) {
  std::string out = quiet ? results_text(experiment.record) : summary_text(experiment.record);
  for (const std::string& sentence : experiment.remarks) out += "remark: " + sentence + "\n";
  if (experiment.reused && !quiet) {
    out += "statistics of the same model, data and settings were there: no pass was needed\n";
  }
  if (!experiment.checkpoint.empty()) out += fmt::format("wrote {}\n", experiment.checkpoint);
  if (experiment.recorded) {
    // On a line of its own, so that it can be pasted also when it is broken.
    out += fmt::format("recorded in {}; this shows it:\n  {}\n", log,
                       how_to_show(log, experiment.record));
  }
  return out;
}

Json experiment_json(const std::string& log, const Experiment& experiment) {
  Json out;
  out["record"] = experiment.record;
  out["log"] = log;
  out["recorded"] = experiment.recorded;
  out["reused_statistics"] = experiment.reused;
  out["remarks"] = array_of(experiment.remarks);
  if (experiment.thin.sites > 0) out["too_few_values"] = thin_json(experiment.thin);
  out["warnings"] = array_of(experiment.warnings);
  return out;
}

}  // namespace

int run_experiment(const std::string& log, const LogFailure& failure, const Job& job,
                   const std::function<Experiment(RunHow how)>& work, Output& out) {
  check_log(log);
  ExperimentWatch watch(job);
  Experiment experiment;
  try {
    experiment = work(watch.how());
  } catch (const Error&) {
    if (watch.interrupted() == 0) throw;
    watch.finish_bar();
    note(false, "scute: interrupted, no experiment recorded; finished statistics are kept");
    return watch.interrupted();
  }
  watch.finish_bar();
  if (!job.json) out.write(experiment_words(log, experiment, job.quiet) + job.peak_line());
  show_warnings(experiment, log, out, job.json);
  if (job.json) out.write_json(job.with_peak(experiment_json(log, experiment)));
  if (!experiment.not_finite.empty()) fail("run", "finite scores", experiment.not_finite);
  return failure.exit_code(experiment.recorded);
}

void use_rule(const PolicyFlags& rule, const std::string& otherwise, Setting& setting) {
  const std::optional<std::string> name = rule.name();
  if (name && !setting.quantize.format.eight_bit_activations()) {
    throw UsageError(
        "--policy and --percentile-alpha: expected --a-bits 8, found 16: nothing is clipped");
  }
  setting.policy = otherwise;
  if (name) set_rule(setting, *name, rule.alpha);
}

}  // namespace scute::cli
