// The report's plans: ranges that were decided, or edited by hand, on what was measured.
#include <fmt/format.h>

#include <algorithm>

#include "scute/base/error.h"
#include "scute/decide/error_model.h"
#include "scute/experiments/report/data.h"

namespace scute {
namespace {

/// Files of other tools hold ranges without a reason.
std::string sentence(const Decision& decision) {
  std::string out = decision.because;
  // "mse gives …" needs no "mse: ".
  if (!decision.policy.empty() && !out.starts_with(decision.policy)) {
    out = out.empty() ? decision.policy : decision.policy + ": " + out;
  }
  if (out.empty()) out = "no reason given";
  return decision.remark.empty() ? out : out + "; " + decision.remark;
}

bool names_any(const Plan& plan, const std::vector<ReportStatistics>& statistics) {
  return std::ranges::any_of(plan.sites, [&statistics](const auto& site) {
    return std::ranges::any_of(statistics, [&site](const ReportStatistics& one) {
      return one.set.sites.contains(site.first);
    });
  });
}

}  // namespace

Json plan_row(const Plan& plan, const std::string& site, const Distribution& distribution) {
  const auto found = plan.sites.find(site);
  if (found == plan.sites.end()) return {};
  const Decision& decision = found->second;
  const Grid grid = make_grid(decision.lo, decision.hi, decision.grid);
  return Json::Array{number(decision.lo),
                     number(decision.hi),
                     number(distribution.outside(decision.lo, decision.hi), 4),
                     number(ErrorModel(distribution).sqnr(grid), 4),
                     decision.grid.bits,
                     sentence(decision)};
}

Json plans_data(const ReportOptions& options) {
  Json out = Json::array();
  if (!options.plans.empty() && options.statistics.empty()) {
    fail(options.plans.front().name, "statistics to draw the plan's ranges on (--stats FILE)",
         "none");
  }
  for (const ReportPlan& plan : options.plans) {
    if (!names_any(plan.plan, options.statistics)) {
      fail(plan.name, fmt::format("ranges of sites in {}", options.statistics.front().name),
           plan.plan.sites.empty()
               ? std::string("none")
               : fmt::format("{} of others, the first {}", plan.plan.sites.size(),
                             plan.plan.sites.begin()->first));
    }
    Json one;
    one["name"] = plan.name;
    one["sites"] = static_cast<int64_t>(plan.plan.sites.size());
    out.push_back(std::move(one));
  }
  return out;
}

}  // namespace scute
