// scute sweep: every combination of models, rules and bits, each measured model once; ranked.
#include <memory>
#include <utility>

#include "cli/described.h"
#include "cli/experiments/sweep_work.h"
#include "cli/form.h"
#include "cli/language/memory.h"
#include "cli/terminal/words.h"

namespace scute::cli {
namespace {

struct SweepRequest {
  SweepFlags sweep;
  bool with_float = false;
  ExperimentFlags flags;

  void declare(Options& options) {
    sweep.declare(options);
    options.flag("--with-float", with_float, "score the float model too");
    flags.declare(options, QuantizeFlags::Bits::lists);
  }
  std::string part() const { return part_name(sweep.launched); }
  void check() const {
    flags.check();
    sweep.check(flags.quantize.formats());
  }
};

int run(SweepRequest& request, const Call& call, Output& out) {
  const ExperimentFlags& flags = request.flags;
  std::vector<LayerFormat> formats = flags.quantize.formats();
  if (request.with_float) formats.insert(formats.begin(), LayerFormat{16, 16});
  SweepWork work;
  work.models = words_of(request.sweep.models);
  work.log = flags.shared.log;
  work.log_failure = flags.log_failure;
  work.job = flags.job;
  work.launched = request.sweep.launched;
  work.scored = !flags.subject("").score.empty();
  work.settings = request.sweep.settings(flags.setting(call.command()), formats);
  work.subject = [&](const std::string& model, RunHow how) {
    const ModelDescription description = described(model, flags.job.quiet);
    how.plan = experiment_planner(flags.job, description, flags.subject(model), work.settings);
    auto subject = std::make_unique<Subject>(flags.subject(model), std::move(how));
    warn_of_overlap(*subject);
    return subject;
  };
  work.plan = [&](const std::string& model) {
    experiment_planner(flags.job, described(model, true), flags.subject(model), work.settings);
  };
  work.checkpoint = [&flags](const std::string& name, const Setting& setting) {
    return checkpoint_folder(flags, name, setting);
  };
  return run_sweep(work, out);
}

}  // namespace

Form language_sweep_form() {
  return form<SweepRequest>(
      {.kind = ModelKind::language,
       .example =
           "scute sweep --models examples/tiny-mamba1,examples/tiny-mamba2 --percentile-alphas "
           "0.9995,1.0 --data examples/text/calibration.jsonl --tasks last-word,perplexity "
           "--eval-data examples/text/last_word.jsonl examples/text/heldout.txt --window 512"});
}

}  // namespace scute::cli
