// A plan: site → range, bits and the reason, as JSON that may be edited by hand.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "scute/base/json.h"
#include "scute/decide/policy.h"

namespace scute {

/// What was decided for each site, and from what: JSON that people may edit.
struct Plan {
  std::map<std::string, Decision> sites;
  Json meta;  ///< format, version, hashes, seed, command; null: "model not recorded"

  /// {site: {"percentile", "lo", "hi", "policy", "headroom"?, "bits", "symmetric", "scale",
  /// "coverage", "clipped", "sqnr_db", "range_before": [min, max], "range_reduction", "because",
  /// "remark"?}, "meta": …}. No headroom: 1. Not known: null for coverage and clipped, no key for
  /// sqnr_db, where null is no error at all.
  Json to_json() const;
  /// Accepts entries with only percentile, lo and hi. Error naming site and key on lo > hi, numbers
  /// that are not finite, bits out of range, or an unknown shape.
  static Plan from_json(const Json& json, std::string_view where);
};

/// How the sites of a glob are decided by default; what is left out is as for all others.
struct SiteRule {
  std::string glob;
  std::optional<Policy> policy = {};
  std::optional<GridSpec> grid = {};
  std::optional<double> headroom = {};
};

/// The policy and grid of a plan, and the exceptions from them.
struct PlanOptions {
  Policy policy;
  GridSpec grid;
  double headroom = 1;  ///< factor on every range, as decide() has it
  /// What a kind of model asks of some of its sites; the last match wins, member by member. A glob
  /// that matches no site is no error.
  std::vector<SiteRule> rules;
  /// Glob → policy, before any rule; the last match wins; a glob that matches no site is an Error.
  std::vector<std::pair<std::string, Policy>> per_site;
  bool allow_nonfinite = false;
  int threads = 1;  ///< that decide sites; 0: all processors. The same plan for any number
};

/// Text order, but runs of digits by their number: layer_2 before layer_10.
bool natural_less(std::string_view a, std::string_view b);

/// Decides every site; `…ssm_state_act:input` from `…ssm_state_act:steps` where that saw a value
/// (and says so), which then has no entry of its own. Sites that cannot be decided (NaN, nothing
/// seen) are collected into one Error that names them all.
Plan make_plan(const std::map<std::string, Statistic>& statistics, const PlanOptions& options);

}  // namespace scute
