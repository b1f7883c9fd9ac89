// Ranges from percentiles alone.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <optional>

#include "scute/base/error.h"
#include "scute/base/names.h"
#include "scute/cobra/percentile_config.h"
#include "scute/cobra/percentile_tables.h"
#include "scute/recipe/plan_meta.h"

namespace scute {
namespace {

constexpr double kUnknown = std::numeric_limits<double>::quiet_NaN();

double percent(double share) { return std::round(share * 1e12) / 1e10; }

/// What a policy answers from a table.
struct Answer {
  double lo, hi, percentile;
  std::string policy, because, remark;
};

void add_remark(std::string& remark, const std::string& text) {
  if (text.empty()) return;
  if (!remark.empty()) remark += "; ";
  remark += text;
}

[[noreturn]] void fail_empty(std::string_view bucket) {
  fail(bucket, "recorded values",
       fmt::format("none: the bucket was never recorded (no picture or text reached it); collect "
                   "again with scute collect --images DIR --targets {}",
                   bucket));
}

/// A recorded, finite percentile.
double value_at(std::string_view bucket, const PercentileTable& table, double percentile) {
  const double* value = table.find(percentile);
  if (value == nullptr) {
    fail(bucket, fmt::format("the percentile p{:.10g}", percentile),
         fmt::format("only {}: the file has no counts to make others from; name one of these "
                     "(--policy percentile:99.9, --percentile-override 99.99), or collect with "
                     "scute, which answers every percentile",
                     table.recorded()));
  }
  if (!std::isfinite(*value)) {
    fail(bucket, fmt::format("a finite value at p{:.10g}", percentile),
         fmt::format("{}: NaN or infinite activations were recorded; find where the model makes "
                     "them, then collect again",
                     *value));
  }
  return *value;
}

Answer keep_all(const PercentileTable& table, std::string policy) {
  return {std::min(table.min, 0.0),
          std::max(table.max, 0.0),
          100,
          std::move(policy),
          fmt::format("min-max keeps everything recorded, {:.6g} … {:.6g}", table.min, table.max),
          ""};
}

/// The largest recorded percentile whose value lies below `lo`; 0: none.
double proven_below(const PercentileTable& table, double lo) {
  double out = 0;
  for (const auto& [number, value] : table.percentiles) {
    if (std::isfinite(value) && value < lo) out = std::max(out, number);
  }
  return out;
}

/// ±|P| cut to what was seen.
Answer keep_magnitude(std::string_view bucket, const PercentileTable& table, double percentile) {
  if (percentile >= 100) return keep_all(table, "percentile");
  const double value = value_at(bucket, table, percentile), magnitude = std::abs(value);
  Answer out{std::min(std::max(-magnitude, table.min), 0.0),
             std::max(std::min(magnitude, table.max), 0.0),
             percentile,
             "percentile",
             fmt::format("±|p{:.10g}|, the recorded percentile is {:.6g}", percentile, value),
             ""};
  const double cut = proven_below(table, out.lo);
  if (cut >= 25) {
    add_remark(out.remark,
               fmt::format("-|p{:.10g}| = {:.6g} lies above {:.10g} % of the values (data shifted "
                           "to the negative side): the lower side keeps its minimum",
                           percentile, -magnitude, cut));
    out.lo = table.min;
  }
  return out;
}

Answer by_tail(const Policy& policy, std::string_view bucket, const PercentileTable& table) {
  std::string reason = "percentile given";
  double percentile = 0;
  if (policy.percentile_override) {
    percentile = *policy.percentile_override;
  } else {
    const TailChoice choice = tail_rule(tail_percentiles(bucket, table));
    percentile = choice.percentile;
    reason = fmt::format("tail rule {}", choice.rule);
  }
  Answer out = keep_magnitude(bucket, table, percentile);
  out.because = fmt::format("{}: {}", reason, out.because);
  out.policy = "tail";
  return out;
}

Answer answer(const Policy& policy, std::string_view bucket, const PercentileTable& table) {
  switch (policy.kind) {
    case PolicyKind::minmax:
      return keep_all(table, "minmax");
    case PolicyKind::quamba:
      return keep_all(table, "quamba");
    case PolicyKind::percentile:
      return keep_magnitude(bucket, table, percent(policy.alpha));
    case PolicyKind::tail:
      return by_tail(policy, bucket, table);
    case PolicyKind::automatic:
    case PolicyKind::mse:
    case PolicyKind::entropy:
      break;
  }
  fail(bucket, "one of the policies tail, minmax and percentile:P",
       fmt::format("{}: the shape of the distribution, which it needs, is not in a file of "
                   "percentiles; collect with scute to use it",
                   policy.name()));
}

/// Why a range from these percentiles is doubtful; empty when it is not.
std::string spread_remark(const PercentileTable& table) {
  constexpr std::string_view kRemedy = "a constant slice or too few samples; collect more batches";
  if (table.min == table.max) {
    return fmt::format("every value is {:.6g} (S = 0): {}", table.min, kRemedy);
  }
  const double *p25 = table.find(25), *p75 = table.find(75);
  // The tail rules measure in S = 0.7413·(p75 − p25), floored at 1e-6.
  if (p25 == nullptr || p75 == nullptr || !(0.7413 * (*p75 - *p25) <= 1e-6)) return "";
  return fmt::format(
      "p25 and p75 are both {:.6g} (S = 0), so the tail rules have no unit to measure in: {}, or "
      "use --policy minmax",
      *p25, kRemedy);
}

/// What is known of the values outside, and that the rest is not.
void measure(const PercentileTable& table, Decision& d) {
  const CoverageBounds bounds = coverage_bounds(table, d.lo, d.hi);
  d.sqnr = kUnknown;
  d.coverage = bounds.least == bounds.most ? bounds.most : kUnknown;
  d.clipped = 1 - d.coverage;
  if (std::isnan(d.coverage)) {
    std::string text = fmt::format("at least {} % of the values lie at or below hi",
                                   percent(bounds.least_below_hi));
    // Tools of this field record no percentile below 25, which bounds nothing worth the name.
    if (bounds.most_below_lo >= 0.25) {
      text += fmt::format(
          "; how many lie below lo is not known, as percentiles of the lower side were not "
          "recorded (coverage {} … {} %)",
          percent(bounds.least), percent(bounds.most));
    } else if (d.lo > table.min) {
      text += fmt::format(", and at most {} % below lo", percent(bounds.most_below_lo));
    }
    add_remark(d.remark, text);
  }
  add_remark(d.remark, "SQNR is not known: the file has no counts");
}

}  // namespace

TailPercentiles tail_percentiles(std::string_view bucket, const PercentileTable& table) {
  constexpr std::array<double, 8> kNeeded{25, 50, 75, 90, 99, 99.9, 99.99, 99.999};
  if (table.numel == 0) fail_empty(bucket);
  std::array<double, 8> p{};
  std::vector<std::string> missing, broken;
  for (size_t i = 0; i < kNeeded.size(); ++i) {
    const double* value = table.find(kNeeded[i]);
    const std::string name = fmt::format("p{:.10g}", kNeeded[i]);
    if (value == nullptr) {
      missing.push_back(name);
    } else if (!std::isfinite(*value)) {
      broken.push_back(name);
    } else {
      p[i] = *value;
    }
  }
  constexpr std::string_view kWanted =
      "p25, p50, p75, p90, p99, p99.9, p99.99 and p99.999, which the tail rules need,";
  if (!missing.empty()) {
    fail(bucket, kWanted,
         fmt::format("no {} (recorded: {}): the bucket was not recorded to the end; collect again "
                     "with scute collect --targets {}, or name a recorded percentile with "
                     "--percentile-override",
                     joined(missing, ", "), table.recorded(), bucket));
  }
  if (!broken.empty()) {
    fail(bucket, kWanted,
         fmt::format("NaN or infinity at {}: the tensors held values that are not finite; find "
                     "where the model makes them, then collect again",
                     joined(broken, ", ")));
  }
  return {p[0], p[1], p[2], p[3], p[4], p[5], p[6], p[7]};
}

CoverageBounds coverage_bounds(const PercentileTable& table, double lo, double hi) {
  // P is the smallest value with at least p % at or below it, so fewer than p % lie below P itself.
  // The shares: at or below hi at least and at most, below lo at least and at most.
  double hi_least = 0, hi_most = 1, lo_least = 0, lo_most = 1;
  const auto look = [&](double share, double value) {
    if (!std::isfinite(value)) return;
    if (value <= hi) hi_least = std::max(hi_least, share);
    if (value > hi) hi_most = std::min(hi_most, share);
    if (value < lo) lo_least = std::max(lo_least, share);
    if (value >= lo) lo_most = std::min(lo_most, share);
  };
  look(0, table.min);
  for (const auto& [number, value] : table.percentiles) look(number / 100, value);
  look(1, table.max);
  return {std::max(0.0, hi_least - lo_most), std::max(0.0, hi_most - lo_least), hi_least, lo_most};
}

Decision decide_from_table(const Policy& policy, std::string_view bucket,
                           const PercentileTable& table, GridSpec grid) {
  if (table.numel == 0) fail_empty(bucket);
  Answer chosen = answer(policy, bucket, table);
  Decision out;
  // Adding 0 turns −0 into +0.
  out.lo = chosen.lo + 0.0;
  out.hi = chosen.hi + 0.0;
  out.percentile = chosen.percentile;
  out.policy = std::move(chosen.policy);
  out.because = std::move(chosen.because);
  out.remark = std::move(chosen.remark);
  out.grid = grid;
  out.scale = static_cast<double>(make_grid(out.lo, out.hi, grid).scale);
  out.before_lo = table.min;
  out.before_hi = table.max;
  const double before = std::max(table.max, 0.0) - std::min(table.min, 0.0);
  out.range_reduction = before > 0 ? 1 - (out.hi - out.lo) / before : 0;
  add_remark(out.remark, spread_remark(table));
  measure(table, out);
  return out;
}

Policy default_policy(std::string_view site) {
  return Policy::parse(is_bucket(site) ? "tail" : "auto");
}

Plan default_plan(const StatisticsSet& statistics, const std::string& statistics_sha256,
                  std::optional<double> percentile_override) {
  PlanOptions options;
  for (const auto& [site, statistic] : statistics.sites) {
    if (!is_bucket(site)) continue;
    Policy policy = default_policy(site);
    policy.percentile_override = percentile_override;
    options.per_site.emplace_back(site, policy);
  }
  Plan plan = make_plan(statistics.sites, options);
  plan.meta = plan_meta(statistics, statistics_sha256);
  plan.meta["policy"] = kDefaultPolicy;
  if (percentile_override) plan.meta["percentile_override"] = *percentile_override;
  plan.meta["bits"] = options.grid.bits;
  plan.meta["symmetric"] = options.grid.symmetric;
  return plan;
}

Plan plan_from_tables(const PercentileTables& tables, const PlanOptions& options) {
  std::vector<std::string> names;
  for (const auto& [bucket, table] : tables.buckets) names.push_back(bucket);
  for (const auto& site : options.per_site) {
    const std::string& glob = site.first;
    if (std::ranges::none_of(names, [&](const auto& name) { return glob_match(glob, name); })) {
      fail("policy", fmt::format("a bucket matching \"{}\"", glob),
           "none" + did_you_mean(glob, names));
    }
  }
  Plan out;
  std::vector<std::string> problems;
  for (const auto& [bucket, table] : tables.buckets) {
    const Policy* policy = &options.policy;
    for (const auto& [glob, other] : options.per_site) {
      if (glob_match(glob, bucket)) policy = &other;
    }
    try {
      out.sites.emplace(bucket, decide_from_table(*policy, bucket, table, options.grid));
    } catch (const Error& error) {
      problems.emplace_back(error.what());
    }
  }
  for (const std::string& bucket : tables.missing) {
    problems.push_back(
        fmt::format("{}: expected what the file's targets promise, found nothing: the bucket was "
                    "never recorded; collect again with scute collect --targets {}, or leave it "
                    "out with --targets {}",
                    bucket, bucket, joined(names, ",")));
  }
  if (!problems.empty()) {
    throw Error(fmt::format("{}: {} of {} buckets cannot be decided:\n  {}", tables.file,
                            problems.size(), names.size() + tables.missing.size(),
                            joined(problems, "\n  ")));
  }
  return out;
}

Json table_meta(const PercentileTables& tables, const std::string& statistics_sha256) {
  Json out;
  out["format"] = "scute-plan";
  out["version"] = 1;
  out["tool"] = "scute " SCUTE_VERSION;
  out["statistics_kind"] =
      "percentiles of another tool; no counts, so coverage and SQNR are not "
      "known";
  if (!tables.config.is_null()) out["collection"] = tables.config;
  for (const auto& [bucket, table] : tables.buckets) {
    if (!table.module.empty()) out["modules"].append_member(bucket, table.module);
  }
  out["statistics_sha256"] = statistics_sha256;
  return out;
}

void check_buckets(const StatisticsSet& statistics, bool allow_nonfinite) {
  std::vector<std::string> problems;
  for (const auto& [name, s] : statistics.sites) {
    if (!is_bucket(name)) continue;
    try {
      if (s.count == 0) fail_empty(name);
      if (s.finite() == 0 || (s.nans + s.infs > 0 && !allow_nonfinite)) {
        fail(name, "finite values",
             fmt::format("{} NaN and {} Inf among {}: the tensors held values that are not finite; "
                         "find where the model makes them and collect again{}",
                         s.nans, s.infs, s.count,
                         s.finite() == 0 ? "" : ", or leave them out with --allow-nonfinite"));
      }
    } catch (const Error& error) {
      problems.emplace_back(error.what());
    }
  }
  if (problems.empty()) return;
  throw Error(joined(problems, "\n  "));
}

void add_spread_remarks(const StatisticsSet& statistics, Plan& plan) {
  for (auto& [name, decision] : plan.sites) {
    const auto found = statistics.sites.find(name);
    if (!is_bucket(name) || found == statistics.sites.end()) continue;
    add_remark(decision.remark, spread_remark(table_of(found->second)));
  }
}

}  // namespace scute
