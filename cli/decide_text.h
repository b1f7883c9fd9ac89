// What decide says of a plan beside the plans it might have been.
#pragma once

#include <string>
#include <vector>

#include "scute/decide/plan.h"

namespace scute::cli {

/// The plan that was asked for beside those it is to be compared with.
struct PlanComparison {
  Plan plan, minmax, best;
  bool asked_best = false;  ///< the plan is the best one

  std::vector<std::string> sites() const;  ///< of the plan, layer_2 before layer_10
};

/// "p99.999 of 6,144 values rests on none: 100,000 are needed".
std::string thin_text(const ThinTail& tail);
/// At how many sites, and that of the worst; "" where there is none.
std::string thin_text(const ThinTails& thin);
Json thin_json(const ThinTails& thin);

/// A row a site, `most` of them.
std::string table_of(const PlanComparison& all, size_t most);
/// Policies, mean and worst SQNR, in a few lines; and as JSON.
std::string totals_text(const PlanComparison& all);
Json summary_json(const PlanComparison& all);

}  // namespace scute::cli
