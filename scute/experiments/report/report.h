// The report: one HTML page with everything in it, that opens from disk.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "scute/decide/plan.h"
#include "scute/experiments/log.h"
#include "scute/language/trace.h"
#include "scute/observe/statistics_file.h"

namespace scute {

struct ReportStatistics {
  std::string name;  ///< shown: the file's name
  StatisticsSet set;
};

/// Ranges drawn beside those of the policies, at the sites that have them.
struct ReportPlan {
  std::string name;  ///< shown: the file's name
  Plan plan;
};

struct ReportOptions {
  const ExperimentLog* log = nullptr;        ///< may be null
  std::vector<ReportStatistics> statistics;  ///< may be empty
  std::vector<ReportPlan> plans;             ///< with statistics only; may be empty
  std::optional<Trace> checkpoint;
  Json checkpoint_recipe;          ///< its recipe.json; null without one
  int64_t most_experiments = 200;  ///< the newest ones; comparing takes each pair
  int threads = 0;                 ///< 0: all processors; the page is the same with any number
};

/// The page; Error when there is nothing to show, when plans have no statistics to be drawn on, and
/// when a plan names none of the sites of any of them. The same input gives the same bytes.
std::string make_report(const ReportOptions& options);

}  // namespace scute
