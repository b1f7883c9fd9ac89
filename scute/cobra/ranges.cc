#include "scute/cobra/ranges.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "scute/base/error.h"
#include "scute/base/names.h"
#include "scute/cobra/percentile_tables.h"
#include "scute/language/plan_scales.h"

namespace scute {
namespace {

constexpr const char* kCause = "a constant slice, or too few samples";
constexpr const char* kRemedy =
    "collect more batches, or look at what passes there with scute report";

void check_origin(const Json& meta, const char* what, const CobraDescription& model,
                  const std::string& hash) {
  const Json* recorded = meta.find("model_sha256");
  if (recorded == nullptr || !recorded->is_string()) return;
  const std::string& theirs = recorded->as_string(what);
  if (theirs == hash) return;
  fail(what, fmt::format("one of {} (SHA-256 {})", model.name, hash.substr(0, 12)),
       fmt::format("one of a model with SHA-256 {}", theirs.substr(0, 12)));
}

/// The plan with aliases replaced by names; Error naming sites that the model does not have.
Plan with_own_names(const Plan& plan, const SiteList& sites, const std::string& model) {
  std::vector<std::string> unknown, known;
  for (const Site& site : sites.sites()) known.push_back(site.name);
  for (const auto& [alias, name] : sites.aliases()) known.push_back(alias);
  Plan out;
  out.meta = plan.meta;
  for (const auto& [name, decision] : plan.sites) {
    const Site* site = sites.find(name);
    if (site == nullptr) {
      unknown.push_back(name);
    } else if (!out.sites.emplace(site->name, decision).second) {
      fail("plan", "one range for " + site->name, fmt::format("another for its alias {}", name));
    }
  }
  if (!unknown.empty()) {
    fail("plan", "sites of " + model,
         first_few(unknown) + did_you_mean(unknown.front(), known) +
             " (scute sites MODEL lists them)");
  }
  return out;
}

bool one_value(const Decision& decision) {
  return !decision.policy.empty() && decision.before_lo == decision.before_hi;
}

double magnitude(const Decision& decision) {
  return std::max(std::abs(decision.lo), std::abs(decision.hi));
}

}  // namespace

CobraRanges::CobraRanges(const CobraDescription& model, const Plan& plan,
                         const StatisticsSet* statistics, const std::optional<Policy>& policy,
                         const std::string& hash)
    : sites_(CobraSites(model.config).list()),
      plan_(with_own_names(plan, sites_, model.name)),
      statistics_(statistics),
      policy_(policy) {
  check_origin(plan.meta, "plan", model, hash);
  if (statistics != nullptr) check_origin(statistics->meta, "statistics", model, hash);
  used_.meta = plan.meta;
}

void CobraRanges::problem(std::string text) {
  // A range may be asked for twice.
  if (std::ranges::find(problems_, text) == problems_.end()) problems_.push_back(std::move(text));
}

bool CobraRanges::note_constant(const std::string& site, const Decision& decision) {
  if (!one_value(decision)) return false;
  const std::string text = fmt::format("{} ({:.6g})", site, decision.before_lo);
  if (std::ranges::find(constants_, text) == constants_.end()) constants_.push_back(text);
  return true;
}

std::optional<Decision> CobraRanges::from_statistics(const std::string& site) {
  if (statistics_ == nullptr) return std::nullopt;
  const auto found = statistics_->sites.find(site);
  if (found == statistics_->sites.end()) return std::nullopt;
  try {
    return decide(policy_.value_or(default_policy(site)), site, found->second, GridSpec{});
  } catch (const Error& error) {
    problem(error.what());
    return std::nullopt;
  }
}

std::optional<Decision> CobraRanges::find(const std::string& site) {
  const auto found = plan_.sites.find(site);
  return found == plan_.sites.end() ? from_statistics(site) : std::optional(found->second);
}

std::optional<Decision> CobraRanges::from_buckets(const CobraMatrix& matrix) {
  const Site* site = sites_.find(matrix.site());
  if (site == nullptr || site->parts.empty()) return std::nullopt;
  std::optional<Decision> out;
  std::string names;
  for (const int part : site->parts) {
    const std::string& bucket = sites_.sites()[static_cast<size_t>(part)].name;
    const auto found = plan_.sites.find(bucket);
    if (found == plan_.sites.end()) return std::nullopt;
    const Decision& one = found->second;
    names += (names.empty() ? "" : " and ") + bucket;
    if (!out) out = one;
    out->lo = std::min(out->lo, one.lo);
    out->hi = std::max(out->hi, one.hi);
    out->before_lo = std::min(out->before_lo, one.before_lo);
    out->before_hi = std::max(out->before_hi, one.before_hi);
    out->percentile = std::min(out->percentile, one.percentile);
    if (one.grid.bits != 8) out->grid = one.grid;
  }
  out->because = "from " + names;
  // Of all columns together nothing was counted.
  out->clipped = out->coverage = out->sqnr = std::numeric_limits<double>::quiet_NaN();
  out->scale = static_cast<double>(make_grid(out->lo, out->hi, out->grid).scale);
  return out;
}

std::optional<std::pair<float, float>> CobraRanges::clip(const std::string& bucket) {
  const bool planned = plan_.sites.contains(bucket);
  if (!planned && !plan_.sites.empty()) return std::nullopt;
  const std::optional<Decision> found = find(bucket);
  if (!found) return std::nullopt;
  const auto lo = static_cast<float>(found->lo), hi = static_cast<float>(found->hi);
  const bool constant = note_constant(bucket, *found);
  used_.sites.insert_or_assign(bucket, *found);
  if (lo < hi) return std::pair(lo, hi);
  // Kept within a point, every picture would look the same.
  if (!constant) {
    problem(fmt::format("{}: the range {:.6g} .. {:.6g} keeps one value ({}: {})", bucket,
                        found->lo, found->hi, kCause, kRemedy));
  }
  return std::nullopt;
}

std::optional<float> CobraRanges::input_scale(const CobraMatrix& matrix) {
  const std::string site = matrix.site();
  std::optional<Decision> found;
  if (!plan_.sites.contains(site)) found = from_buckets(matrix);
  if (!found) found = find(site);
  if (!found) return std::nullopt;
  if (found->grid.bits != 8) {
    problem(fmt::format("{} was decided for {} bits; inputs have 8 (scute decide --bits 8)", site,
                        found->grid.bits));
    return 1.0F;
  }
  const bool constant = note_constant(site, *found);
  const double range = magnitude(*found);
  // Nothing but zeros was seen: any scale represents them.
  const bool zeros = constant && range == 0 && found->before_lo == 0;
  if (!zeros && !std::isnormal(static_cast<float>(range / 127))) {
    problem(fmt::format("{}: the range {:.6g} .. {:.6g} leaves no scale ({}: {})", site, found->lo,
                        found->hi, kCause, kRemedy));
    return 1.0F;
  }
  used_.sites.insert_or_assign(site, *found);
  return scale_of_range(range);
}

bool CobraRanges::of_language(const std::string& name) const {
  const Site* site = sites_.find(name);
  return site != nullptr && site->index > sites_.find("llm")->index;
}

Plan CobraRanges::language() {
  Plan out;
  for (const auto& [name, decision] : plan_.sites) {
    if (of_language(name)) out.sites.emplace(name, decision);
  }
  if (statistics_ != nullptr) {
    std::map<std::string, Statistic> left;
    for (const auto& [name, statistic] : statistics_->sites) {
      if (of_language(name) && !out.sites.contains(name)) left.emplace(name, statistic);
    }
    PlanOptions options;
    options.policy = policy_.value_or(Policy{});
    try {
      out.sites.merge(make_plan(left, options).sites);
    } catch (const Error& error) {
      problem(error.what());
    }
  }
  const bool any = std::ranges::any_of(
      out.sites, [](const auto& entry) { return entry.first.starts_with("layer_"); });
  return any ? out : Plan{};
}

std::optional<StatisticsSet> CobraRanges::language_statistics() const {
  if (statistics_ == nullptr) return std::nullopt;
  StatisticsSet out{.fine = statistics_->fine, .sites = {}, .meta = statistics_->meta};
  for (const auto& [name, statistic] : statistics_->sites) {
    if (of_language(name)) out.sites.emplace(name, statistic);
  }
  return out.sites.empty() ? std::nullopt : std::optional(std::move(out));
}

std::vector<std::string> CobraRanges::unused() const {
  std::vector<std::string> out;
  for (const auto& [name, decision] : plan_.sites) {
    if (!of_language(name) && !used_.sites.contains(name)) out.push_back(name);
  }
  return out;
}

void CobraRanges::finish() const {
  if (problems_.empty()) return;
  fail("plan", "ranges that give a scale and keep more than one value",
       fmt::format("{} problem{}: {}", problems_.size(), problems_.size() == 1 ? "" : "s",
                   joined(problems_, "; ")));
}

}  // namespace scute
