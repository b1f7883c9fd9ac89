// The parts of a record: what one line of the experiment log says (docs/formats.md).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "scute/base/json.h"
#include "scute/decide/plan.h"
#include "scute/language/reorder.h"
#include "scute/language/scoring.h"
#include "scute/observe/statistics_file.h"

namespace scute {

/// Which sites a record holds; the others are in the statistics file that it names.
struct LoggedSites {
  /// Glob; the sites at which Quamba takes percentiles.
  std::string sites = "*.x_proj:input,*.x_conv_out:input,*.ssm_state_act:input";
  std::optional<int64_t> layers;  ///< the first ones only

  bool has(const std::string& site) const;
};

/// {"min", "max", "range"}
Json range_json(double lo, double hi);

/// {site: {before_percentile, after_percentile, …}} in natural order; with the reorder effect where
/// there is one. Error when no site is left and some layer was wanted.
Json activation_stats(const StatisticsSet& statistics, const Plan& plan, const LoggedSites& logged,
                      const std::vector<ReorderEffect>& reorder);

/// {"enabled", "avg_range_reduction": percent, "total_layers"}; not enabled without effects.
Json reorder_summary(const std::vector<ReorderEffect>& effects);

/// Of a language model: {"accuracy", "perplexity", "tasks", "metrics"}, and "not_finite", words, of
/// scores that are not; {} without scores. Numbers that are not finite, as standard errors of one
/// item, are null.
Json results_json(const Scores& scores, const ScoreOptions& options, const ScoredFiles& sha256);

/// config of a folder's model as it is run: bits and options of its recipe.json, 16 bits without
/// one.
Json folder_config(const std::string& folder, const std::string& kind, const std::string& compute,
                   const std::string& backend);

}  // namespace scute
