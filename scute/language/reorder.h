// What grouping heads and channels of Mamba-2 does for the ranges.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "scute/decide/plan.h"
#include "scute/language/model_folder.h"
#include "scute/observe/statistics_file.h"

namespace scute {

/// What the groups of a site with this statistic are kept within: each follows its own largest
/// value, as Quamba2's recipe has it, so this is the range of all. A `percentile` of the whole
/// site's |x| (0 … 1) caps every group. A range `planned` by hand (one without a policy) stands.
Decision grouped_decision(const std::string& site, const Statistic& seen, const Decision* planned,
                          std::optional<double> percentile);

/// The plan with the ranges that head grouping has at its sites: every layer's x_conv_out:input and
/// ssm_state_act:input, where they were measured.
Plan grouped_plan(Plan plan, const ModelDescription& model, const StatisticsSet& statistics,
                  std::optional<double> percentile);

struct ReorderEffect {
  std::string site;
  double before = 0;     ///< the site's range: every channel has it with one scale
  double after = 0;      ///< mean over channels of the range that their group's scale stands for
  double reduction = 0;  ///< 1 − after / before, 0 … 1; 0 for a site that is all zero
};

/// Per layer its x_conv_out:input, and its state where that was measured: of the scales that
/// quantize() stores with this grouped_plan(). Error as there: not Mamba-2, statistics without the
/// channels' magnitudes.
std::vector<ReorderEffect> reorder_effect(const ModelDescription& model,
                                          const StatisticsSet& statistics, const Plan& plan);

}  // namespace scute
