// The flags of an experiment, which run and sweep share, and what both show while it runs.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "cli/experiments/eval_log.h"
#include "cli/language/quantize_flags.h"
#include "cli/terminal/interrupt.h"
#include "cli/terminal/job.h"
#include "cli/terminal/progress.h"
#include "scute/experiments/run.h"

namespace scute::cli {

struct ExperimentFlags {
  void declare(Options& options, QuantizeFlags::Bits bits);
  /// After parsing; UsageError on flags that do not go together.
  void check() const;

  SubjectOptions subject(const std::string& model) const;
  /// Without rule, bits and folder, which the verbs fill in.
  Setting setting(const std::string& command) const;

  QuantizeFlags quantize;
  SubjectOptions shared;  ///< model and score are not filled in
  std::string pretrained_dir = ".", output_subdir;
  bool force = false;
  LogFailure log_failure;
  Job job;

 private:
  void declare_tasks(Options& options);
  void declare_conditions(Options& options) const;
  bool has_task(const std::string& task) const;
  /// Whether anything is measured on --data.
  bool measures() const;
  ScoreOptions score() const;

  std::vector<std::string> tasks_, eval_data_;
  int64_t window_ = 2048, context_ = 1;
  std::optional<int64_t> stride_, max_windows_, max_items_;
  bool stepwise_ = false;
  LoggedSites logged_;
  std::optional<int64_t> save_activations_;
  Backend backend_ = Backend::integer;
};

/// The rule in one form, however it was written: "quamba:0.99" is quamba with alpha 0.99.
void set_rule(Setting& setting, const std::string& policy, std::optional<double> alpha);

/// "DIR/SUBDIR/pa-0.9995/NAME-w8a8": the field's layout; a rule without alpha gives its own name to
/// the middle folder. Empty without --output-subdir.
std::string checkpoint_folder(const ExperimentFlags& flags, const std::string& model_name,
                              const Setting& setting);

/// --log, --log-sites and --log-layers.
void declare_log(Options& options, std::string& log, LoggedSites& logged);

/// Bars and Ctrl-C of experiments: while it lives, the first interrupt ends the step at work.
class ExperimentWatch {
 public:
  explicit ExperimentWatch(const Job& job) : job_(job), bars_(job.quiet) {}

  RunHow how();
  /// 128 + signal when one came, else 0.
  int interrupted() const { return interrupt_.exit_code(); }
  void finish_bar() { bars_.finish(); }

 private:
  const Job& job_;
  Interrupt interrupt_;
  StepProgress bars_;
};

/// Warns of scores that flatter: a part of what is scored was calibrated on.
void warn_of_overlap(const Subject& subject);

/// Warnings of an experiment on standard error; the record itself on `out` when no log holds it.
void show_warnings(const Experiment& experiment, const std::string& log, Output& out, bool json);

}  // namespace scute::cli
