// Several plans of one model as one.
#pragma once

#include <string>
#include <vector>

#include "scute/decide/plan.h"
#include "scute/models/sites.h"

namespace scute {

struct PlanFile {
  std::string name;  ///< as given, for messages
  Plan plan;
};
/// A plan as decide writes it or other tools do (percentile, lo, hi). Error naming file, site, key.
PlanFile read_plan_file(const std::string& path);

struct MergedPlans {
  Plan plan;  ///< sites under their own names where they were given by an alias
  /// A sentence for each site to which two files give different ranges (site, both, and whose
  /// counts), and for files that do not say which model they are of beside others that do.
  std::vector<std::string> remarks;
};
/// Of a site that several have, the last one's range counts. Error naming both files when they are
/// of different models (by hash).
MergedPlans merge_plans(const std::vector<PlanFile>& files, const SiteList& sites);

}  // namespace scute
