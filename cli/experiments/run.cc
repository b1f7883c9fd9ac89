// scute run: collect, decide, quantize, score and record, in one command.
#include "scute/experiments/run.h"

#include <fmt/format.h>

#include "cli/experiments/experiment_flags.h"
#include "cli/experiments/experiment_text.h"
#include "cli/form.h"
#include "cli/terminal/words.h"
#include "scute/base/error.h"

namespace scute::cli {
namespace {

std::string how_to_show(const std::string& log, const Json& record) {
  Arguments words{"log", "show", record.at("id", "").as_string("")};
  if (log != SubjectOptions().log) words.insert(words.end(), {"--log", log});
  return shell_command(words);
}

std::string as_text(const ExperimentFlags& flags, const Experiment& experiment) {
  std::string out = summary_text(experiment.record);
  for (const std::string& sentence : experiment.remarks) out += "remark: " + sentence + "\n";
  if (experiment.reused) {
    out += "statistics of the same model, data and settings were there: no pass was needed\n";
  }
  if (!experiment.checkpoint.empty()) out += fmt::format("wrote {}\n", experiment.checkpoint);
  if (experiment.recorded) {
    out += fmt::format("recorded in {}: {} shows it\n", flags.shared.log,
                       how_to_show(flags.shared.log, experiment.record));
  }
  return out;
}

Json array_of(const std::vector<std::string>& words) {
  Json out = Json::array();
  for (const std::string& word : words) out.push_back(word);
  return out;
}

struct RunRequest {
  std::string model;
  ExperimentFlags flags;
  PolicyFlags rule;

  void declare(Options& options) {
    options.model(model);
    rule.declare(options, "quamba with --percentile-alpha, else auto");
    flags.declare(options, QuantizeFlags::Bits::any);
  }
  void check() const { flags.check(); }
};

int run(RunRequest& request, const Call& call, Output& out) {
  const auto& [model, flags, rule] = request;
  Setting setting = flags.setting(call.command());
  set_rule(setting, rule.policy.value_or(rule.alpha ? "quamba" : "auto"), rule.alpha);
  if ((rule.policy || rule.alpha) && !setting.quantize.format.eight_bit_activations()) {
    throw UsageError(
        "--policy and --percentile-alpha: expected --a-bits 8, found 16: nothing is "
        "clipped");
  }

  ExperimentWatch watch(flags);
  Experiment experiment;
  try {
    Subject subject(flags.subject(model), watch.how());
    setting.checkpoint = checkpoint_folder(flags, subject.model().name, setting);
    experiment = subject.run(setting);
  } catch (const Error&) {
    if (watch.interrupted() == 0) throw;
    watch.finish_bar();
    note(false, "scute: interrupted, no experiment recorded; finished statistics are kept");
    return watch.interrupted();
  }
  watch.finish_bar();
  if (!flags.job.json) out.write(as_text(flags, experiment));
  show_warnings(experiment, flags.shared.log, out, flags.job.json);
  if (!flags.job.json) return kDone;
  Json answer;
  answer["record"] = experiment.record;
  answer["log"] = flags.shared.log;
  answer["recorded"] = experiment.recorded;
  answer["reused_statistics"] = experiment.reused;
  answer["remarks"] = array_of(experiment.remarks);
  answer["warnings"] = array_of(experiment.warnings);
  out.write_json(answer);
  return kDone;
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
