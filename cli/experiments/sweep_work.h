// Many experiments, of any kind of model: what is asked for, what is run, what is shown.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "cli/collect_part.h"
#include "cli/experiments/experiment_flags.h"

namespace scute::cli {

/// Models and rules of a sweep.
struct SweepFlags {
  std::vector<std::string> models = {}, alphas = {}, policies = {};
  std::string otherwise = "auto";  ///< rule without policies and alphas
  std::optional<Launched> launched = {};

  void declare(Options& options);
  /// After parsing; UsageError on lists that say nothing or do not go together.
  void check(const std::vector<LayerFormat>& formats) const;
  /// `base` with each format and rule; activations of 16 bits are decided by no rule.
  std::vector<Setting> settings(const Setting& base, const std::vector<LayerFormat>& formats) const;
};

struct SweepWork {
  std::vector<std::string> models;
  std::string log;
  LogFailure log_failure;
  Job job;
  bool scored = true;                     ///< a record without results is not finished
  std::optional<Launched> launched = {};  ///< the combinations that are run here; all without
  std::vector<Setting> settings;
  std::function<std::unique_ptr<ExperimentSubject>(const std::string& model, RunHow how)> subject;
  /// Where memory is limited: of every model before the first is worked on, because hours may lie
  /// between. Error when it does not fit. May be empty.
  std::function<void(const std::string& model)> plan = {};
  /// The folder that an experiment's checkpoint is kept in; empty: none. May be empty.
  std::function<std::string(const std::string& model_name, const Setting& setting)> checkpoint = {};
};

/// Runs of the shard's combinations what the log does not hold yet and nobody else is running, and
/// ranks everything; the exit code. Error when an experiment failed, after the others were run.
int run_sweep(const SweepWork& work, Output& out);

}  // namespace scute::cli
