// The flags of a Cobra's experiment, which run and sweep share.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "cli/experiments/eval_log.h"
#include "cli/language/quantize_flags.h"
#include "cli/terminal/job.h"
#include "scute/experiments/run_cobra.h"

namespace scute::cli {

struct CobraExperimentFlags {
  void declare(Options& options, QuantizeFlags::Bits bits);
  /// After parsing; UsageError on flags that do not go together.
  void check() const;

  CobraSubjectOptions subject(const std::string& model) const;
  /// Without rule, in the first of formats().
  Setting setting(const std::string& command) const;
  std::vector<LayerFormat> formats() const { return formats_of(w_bits_, a_bits_); }

  CobraSubjectOptions shared;  ///< model and text's seed are not filled in
  LogFailure log_failure;
  Job job;

 private:
  std::string w_bits_ = "8", a_bits_ = "8", hadamard_ = "on";
  std::optional<int64_t> group_;
  int64_t seed_ = 42;
  bool no_random_text_ = false;
  LoggedSites logged_{.sites = "vision.dino,vision.siglip,projector,llm", .layers = {}};
  Backend backend_ = Backend::integer;
};

}  // namespace scute::cli
