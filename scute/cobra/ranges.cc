#include "scute/cobra/ranges.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>

#include "scute/base/error.h"
#include "scute/cobra/percentile_tables.h"

namespace scute {
namespace {

constexpr std::string_view kHint =
    "a constant slice, or too few samples: collect more batches, or look at what passes there with "
    "scute report";

}  // namespace

CobraRanges::CobraRanges(const CobraDescription& model, const Plan& plan,
                         const StatisticsSet* statistics, const std::optional<Policy>& policy,
                         const std::string& hash)
    : ranges_(model.name, CobraSites(model.config).list(), plan, statistics),
      statistics_(statistics),
      policy_(policy) {
  check_recorded_model(plan.meta, "plan", model.name, hash);
  if (statistics != nullptr) {
    check_recorded_model(statistics->meta, "statistics", model.name, hash);
  }
}

std::optional<Decision> CobraRanges::find(const std::string& site) {
  return ranges_.find(site, policy_.value_or(default_policy(site)));
}

std::optional<Decision> CobraRanges::from_buckets(const CobraMatrix& matrix) const {
  const Site* site = ranges_.sites().find(matrix.site());
  if (site == nullptr || site->parts.empty()) return std::nullopt;
  std::optional<Decision> out;
  std::string names;
  for (const int part : site->parts) {
    const std::string& bucket = ranges_.sites().sites()[static_cast<size_t>(part)].name;
    const Decision* found = ranges_.planned(bucket);
    if (found == nullptr) return std::nullopt;
    const Decision& one = *found;
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
  const bool any = !ranges_.plan().sites.empty();
  if (any && ranges_.planned(bucket) == nullptr) return std::nullopt;
  const std::optional<Decision> found = find(bucket);
  if (!found) return std::nullopt;
  const auto lo = static_cast<float>(found->lo), hi = static_cast<float>(found->hi);
  const bool constant = ranges_.note_constant(bucket, *found);
  ranges_.use(bucket, *found);
  if (lo < hi) return std::pair(lo, hi);
  // Kept within a point, every picture would look the same.
  if (!constant) {
    ranges_.note(fmt::format("{}: the range {:.6g} .. {:.6g} keeps one value ({})", bucket,
                             found->lo, found->hi, kHint));
  }
  return std::nullopt;
}

std::optional<float> CobraRanges::input_scale(const CobraMatrix& matrix) {
  const std::string site = matrix.site();
  std::optional<Decision> found;
  if (ranges_.planned(site) == nullptr) found = from_buckets(matrix);
  if (!found) found = find(site);
  if (!found) return std::nullopt;
  const auto range = ranges_.magnitude(
      site, *found,
      {.symmetric = false, .reason = "inputs have 8 (scute decide --bits 8)", .hint = kHint});
  if (!range) return 1.0F;
  ranges_.note_constant(site, *found);
  ranges_.use(site, *found);
  return scale_of_range(*range);
}

bool CobraRanges::of_language(const std::string& name) const {
  const Site* site = ranges_.sites().find(name);
  return site != nullptr && site->index > ranges_.sites().find("llm")->index;
}

Plan CobraRanges::language() {
  Plan out;
  for (const auto& [name, decision] : ranges_.plan().sites) {
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
      ranges_.note(error.what());
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
  std::vector<std::string> out = ranges_.unused();
  std::erase_if(out, [this](const std::string& name) { return of_language(name); });
  return out;
}

void CobraRanges::finish() const {
  constexpr size_t kAll = std::numeric_limits<size_t>::max();
  ranges_.finish("ranges that give a scale and keep more than one value", kAll);
}

}  // namespace scute
