#include "cli/decide_text.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "cli/terminal/table.h"
#include "cli/terminal/words.h"
#include "scute/base/names.h"

namespace scute::cli {
namespace {

/// What the whole plan amounts to.
struct Summary {
  std::map<std::string, int64_t> policies;
  double mean_reduction = 0, mean_sqnr = 0, mean_minmax = 0, mean_best = 0;
  std::string worst_site, worst_loss_site;
  double worst_sqnr = 0;
  double worst_loss = 0;  ///< dB below min-max
};

Summary summarize(const PlanComparison& all) {
  Summary out;
  int64_t counted = 0;
  for (const auto& [site, d] : all.plan.sites) {
    ++out.policies[d.policy];
    const double minmax = all.minmax.sites.at(site).sqnr, best = all.best.sites.at(site).sqnr;
    // Constant sites are represented exactly: their infinite ratio says nothing about the others.
    if (!std::isfinite(d.sqnr) || !std::isfinite(minmax) || !std::isfinite(best)) continue;
    ++counted;
    out.mean_reduction += d.range_reduction;
    out.mean_sqnr += d.sqnr;
    out.mean_minmax += minmax;
    out.mean_best += best;
    if (out.worst_site.empty() || d.sqnr < out.worst_sqnr) {
      out.worst_site = site;
      out.worst_sqnr = d.sqnr;
    }
    if (minmax - d.sqnr > out.worst_loss) {
      out.worst_loss = minmax - d.sqnr;
      out.worst_loss_site = site;
    }
  }
  const double n = std::max<double>(1, static_cast<double>(counted));
  for (double* mean : {&out.mean_reduction, &out.mean_sqnr, &out.mean_minmax, &out.mean_best}) {
    *mean /= n;
  }
  return out;
}

/// JSON has no infinity: null is "no error at all", as in the plan.
Json or_null(double decibels) { return std::isfinite(decibels) ? Json(decibels) : Json(); }

}  // namespace

std::vector<std::string> PlanComparison::sites() const {
  std::vector<std::string> out;
  for (const auto& [name, decision] : plan.sites) out.push_back(name);
  std::sort(out.begin(), out.end(), natural_less);
  return out;
}

std::string thin_text(const ThinTail& tail) {
  return fmt::format("p{:.10g} of {} values rests on none: {} are needed", tail.percentile,
                     grouped(static_cast<int64_t>(tail.values)),
                     grouped(static_cast<int64_t>(tail.needed)));
}

std::string thin_text(const ThinTails& thin) {
  if (thin.sites == 0) return "";
  return fmt::format(
      "too few values at {} for a percentile that the rule there reads; the worst, {}: {}",
      count_of(thin.sites, "site"), thin.worst, thin_text(thin.tail));
}

Json thin_json(const ThinTails& thin) {
  Json out;
  out["sites"] = thin.sites;
  out["worst"] = thin.worst;
  out["percentile"] = thin.tail.percentile;
  out["values"] = static_cast<int64_t>(thin.tail.values);
  out["needed"] = static_cast<int64_t>(thin.tail.needed);
  return out;
}

std::string table_of(const PlanComparison& all, size_t most) {
  std::vector<Table::Column> columns{{"site", Table::Align::left},
                                     {"policy", Table::Align::left},
                                     {"range before", Table::Align::right, 2},
                                     {"range after"},
                                     {"reduced %"},
                                     {"clipped %"},
                                     {"coverage %", Table::Align::right, 3},
                                     {"SQNR dB"},
                                     {"min-max", Table::Align::right, 1}};
  if (!all.asked_best) columns.push_back({"best", Table::Align::right, 1});
  Table table(columns);
  for (const std::string& site : all.sites()) {
    if (table.rows() == most) break;
    const Decision& d = all.plan.sites.at(site);
    std::vector<std::string> row{site,
                                 d.policy,
                                 range_text(d.before_lo, d.before_hi),
                                 range_text(d.lo, d.hi),
                                 fixed(100 * d.range_reduction, 1),
                                 fixed(100 * d.clipped, 4),
                                 fixed(100 * d.coverage, 4),
                                 fixed(d.sqnr, 1),
                                 fixed(all.minmax.sites.at(site).sqnr, 1)};
    if (!all.asked_best) row.push_back(fixed(all.best.sites.at(site).sqnr, 1));
    table.add(std::move(row));
  }
  return table.text();
}

std::string totals_text(const PlanComparison& all) {
  const Summary s = summarize(all);
  std::vector<std::string> policies;
  for (const auto& [name, count] : s.policies)
    policies.push_back(fmt::format("{} {}", name, count));
  std::string out = fmt::format(
      "{}: {}; range {} by {} % on average; worst SQNR {} dB at {}\n",
      count_of(static_cast<int64_t>(all.plan.sites.size()), "site"), joined(policies, ", "),
      s.mean_reduction < 0 ? "widened" : "reduced", fixed(100 * std::abs(s.mean_reduction), 1),
      fixed(s.worst_sqnr, 1), s.worst_site.empty() ? "none" : s.worst_site);
  out +=
      fmt::format("mean SQNR {} dB; min-max {} dB", fixed(s.mean_sqnr, 2), fixed(s.mean_minmax, 2));
  if (!all.asked_best)
    out += fmt::format("; the best policy at each site {} dB", fixed(s.mean_best, 2));
  out += "\n";
  if (!s.worst_loss_site.empty()) {
    out += fmt::format("largest loss against min-max: {} dB at {}\n", fixed(s.worst_loss, 1),
                       s.worst_loss_site);
  }
  const std::string thin = thin_text(thin_tails(all.plan.sites));
  if (!thin.empty()) out += fmt::format("WARNING: {}\n", thin);
  return out;
}

Json summary_json(const PlanComparison& all) {
  const Summary s = summarize(all);
  Json out;
  out["sites"] = static_cast<int64_t>(all.plan.sites.size());
  out["policies"] = Json::object();
  for (const auto& [name, count] : s.policies) out["policies"][name] = count;
  out["mean_range_reduction"] = s.mean_reduction;
  out["mean_sqnr_db"] = s.mean_sqnr;
  out["mean_sqnr_db_minmax"] = s.mean_minmax;
  out["mean_sqnr_db_best"] = s.mean_best;
  out["worst_site"] = s.worst_site;
  out["worst_sqnr_db"] = s.worst_sqnr;
  out["worst_loss_site"] = s.worst_loss_site;
  out["worst_loss_db"] = s.worst_loss;
  const ThinTails thin = thin_tails(all.plan.sites);
  if (thin.sites > 0) out["too_few_values"] = thin_json(thin);
  for (const auto& [site, d] : all.plan.sites) {
    Json entry;
    entry["minmax"] = or_null(all.minmax.sites.at(site).sqnr);
    entry["best"] = or_null(all.best.sites.at(site).sqnr);
    out["sqnr_db"].append_member(site, std::move(entry));
  }
  return out;
}

}  // namespace scute::cli
