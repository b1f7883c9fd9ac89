// Ranges from several plans, and onto a model in memory.
#pragma once

#include <string>
#include <vector>

#include "scute/cobra/folder.h"
#include "scute/decide/plan.h"

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

/// What apply_overrides() did.
struct AppliedOverrides {
  std::vector<std::string> sites;    ///< whose range was set
  std::vector<std::string> remarks;  ///< a sentence for each range that was replaced by another
};
/// CobraModel::set_range for every site of a plan file: what was set before by hand or by another
/// file loses, and is reported. Error, and nothing set, when the model lacks a site or a range has
/// no width; as set_range() for sites inside a low-bit language model. The file's model is not
/// checked: a model in memory has no hash.
AppliedOverrides apply_overrides(CobraModel& model, const std::string& file);

}  // namespace scute
