#include "cli/cobra/decide_tables.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <optional>

#include "cli/terminal/table.h"
#include "cli/terminal/words.h"
#include "scute/base/error.h"
#include "scute/base/names.h"
#include "scute/cobra/percentile_config.h"

namespace scute::cli {
namespace {

/// Which of tail's rules it was; nothing when the percentile was given or the policy is another.
std::optional<int> rule_of(const std::string& bucket, const Decision& d,
                           const PercentileTable& table) {
  if (!d.because.starts_with("tail rule")) return std::nullopt;
  return tail_rule(tail_percentiles(bucket, table)).rule;
}

std::string coverage_text(const Decision& d, const PercentileTable& table) {
  if (!std::isnan(d.coverage)) return fmt::format("coverage {} %", fixed(100 * d.coverage, 4));
  const CoverageBounds bounds = coverage_bounds(table, d.lo, d.hi);
  return fmt::format("at least {} % at or below hi, coverage {} … {} %",
                     significant(100 * bounds.least_below_hi, 7),
                     significant(100 * bounds.least, 7), significant(100 * bounds.most, 7));
}

[[noreturn]] void fail_missing(const std::string& file, const std::string& target,
                               const std::vector<std::string>& found) {
  fail(file, fmt::format("the bucket {}", target),
       fmt::format("{}: {} was not recorded; collect again with scute collect --targets {}, or "
                   "name what is there",
                   found.empty() ? "no bucket" : fmt::format("only {}", joined(found, ", ")),
                   target, target));
}

bool listed(const std::vector<std::string>& targets, const std::string& name) {
  return std::ranges::find(targets, name) != targets.end();
}

void require(const std::vector<std::string>& targets, const std::string& file,
             const std::vector<std::string>& found) {
  for (const std::string& target : targets) {
    if (!listed(found, target)) fail_missing(file, target, found);
  }
}

}  // namespace

BucketTables bucket_tables(const StatisticsSet& statistics) {
  BucketTables out;
  for (const auto& [name, statistic] : statistics.sites) {
    if (is_bucket(name)) out.emplace(name, table_of(statistic));
  }
  return out;
}

void keep_targets(const std::vector<std::string>& targets, const std::string& file,
                  StatisticsSet& statistics) {
  std::vector<std::string> found;
  for (const auto& [name, statistic] : statistics.sites) {
    if (is_bucket(name)) found.push_back(name);
  }
  require(targets, file, found);
  std::erase_if(statistics.sites, [&](const auto& site) { return !listed(targets, site.first); });
}

void keep_targets(const std::vector<std::string>& targets, PercentileTables& tables) {
  std::vector<std::string> found;
  for (const auto& [name, table] : tables.buckets) found.push_back(name);
  require(targets, tables.file, found);
  std::erase_if(tables.buckets, [&](const auto& site) { return !listed(targets, site.first); });
  tables.missing.clear();  // a missing target that was asked for is an error above
}

std::string bucket_lines(const Plan& plan, const BucketTables& tables) {
  size_t width = 0;
  for (const auto& [bucket, table] : tables) width = std::max(width, bucket.size());
  std::string out;
  for (const std::string_view name : kBuckets) {
    const std::string bucket(name);
    const auto found = tables.find(bucket);
    const auto decided = plan.sites.find(bucket);
    if (found == tables.end() || decided == plan.sites.end()) continue;
    const Decision& d = decided->second;
    const std::optional<int> rule = rule_of(bucket, d, found->second);
    out += fmt::format("{:<{}}  {}{}: p{:.10g}, range {}, {}\n", bucket, width, d.policy,
                       rule ? fmt::format(" (rule {})", *rule) : "", d.percentile,
                       range_text(d.lo, d.hi), coverage_text(d, found->second));
  }
  return out;
}

Json buckets_json(const Plan& plan, const BucketTables& tables) {
  Json out = Json::object();
  for (const std::string_view name : kBuckets) {
    const std::string bucket(name);
    const auto found = tables.find(bucket);
    const auto decided = plan.sites.find(bucket);
    if (found == tables.end() || decided == plan.sites.end()) continue;
    const Decision& d = decided->second;
    const std::optional<int> rule = rule_of(bucket, d, found->second);
    const CoverageBounds bounds = coverage_bounds(found->second, d.lo, d.hi);
    const bool known = !std::isnan(d.coverage);
    Json entry;
    entry["policy"] = d.policy;
    entry["rule"] = rule ? Json(*rule) : Json();
    entry["percentile"] = d.percentile;
    entry["lo"] = d.lo;
    entry["hi"] = d.hi;
    entry["coverage"] = known ? Json(d.coverage) : Json();
    entry["coverage_bounds"] = Json(Json::Array{Json(known ? d.coverage : bounds.least),
                                                Json(known ? d.coverage : bounds.most)});
    out.append_member(bucket, std::move(entry));
  }
  return out;
}

std::string tables_text(const Plan& plan, const PercentileTables& tables) {
  Table table({{"bucket", Table::Align::left},
               {"policy", Table::Align::left},
               {"values"},
               {"range before"},
               {"range after"},
               {"reduced %"}});
  for (const std::string_view name : kBuckets) {
    const auto found = plan.sites.find(std::string(name));
    if (found == plan.sites.end()) continue;
    const auto& [bucket, d] = *found;
    const int64_t numel = tables.buckets.at(bucket).numel;
    table.add({bucket, d.policy, numel < 0 ? "not said" : grouped(numel),
               range_text(d.before_lo, d.before_hi), range_text(d.lo, d.hi),
               fixed(100 * d.range_reduction, 1)});
  }
  return fmt::format(
      "{}: percentiles that another tool recorded, without counts: what it did not record cannot "
      "be known\n\n{}\n{}",
      tables.file, table.text(), bucket_lines(plan, tables.buckets));
}

Json tables_summary(const Plan& plan) {
  std::map<std::string, int64_t> policies;
  double reduction = 0;
  for (const auto& [bucket, d] : plan.sites) {
    ++policies[d.policy];
    reduction += d.range_reduction;
  }
  Json out;
  out["sites"] = static_cast<int64_t>(plan.sites.size());
  out["policies"] = Json::object();
  for (const auto& [name, count] : policies) out["policies"][name] = count;
  out["mean_range_reduction"] =
      reduction / std::max<double>(1, static_cast<double>(plan.sites.size()));
  return out;
}

}  // namespace scute::cli
