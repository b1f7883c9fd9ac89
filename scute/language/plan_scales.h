// The ranges of a plan as the scales of 8-bit grids, for one language model: internal to this
// folder.
#pragma once

#include <string>

#include "scute/language/model_folder.h"
#include "scute/recipe/ranges.h"

namespace scute {

class PlanScales {
 public:
  /// Error when the plan is of another model (by hash, where it has one), or names sites that this
  /// model does not have.
  PlanScales(const Plan& plan, const ModelDescription& model);

  /// The larger magnitude of the site's range. A site that the plan lacks, or that was decided for
  /// other bits than 8, is noted, and 1 returned: call finish() before using any.
  double range(const std::string& site);
  /// The scale of the 8-bit grid of that range.
  float scale(const std::string& site) { return scale_of_range(range(site)); }
  /// Null where the plan lacks the site.
  const Decision* planned(const std::string& site) const { return ranges_.planned(site); }
  /// Notes that the site was decided otherwise than the plan says.
  void decided(const std::string& site, Decision decision) {
    ranges_.replace(site, std::move(decision));
  }
  /// Throws one Error that lists every problem.
  void finish() const;
  /// The sites that were asked for.
  const Plan& used() const { return ranges_.used(); }

 private:
  std::string model_;
  ModelRanges ranges_;
};

}  // namespace scute
