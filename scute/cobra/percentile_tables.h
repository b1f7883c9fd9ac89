// Statistics that other tools wrote: per bucket extremes and percentiles, but no counts. What can
// be decided from them, and what cannot be known.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "scute/decide/plan.h"
#include "scute/io/torch_zip.h"
#include "scute/observe/statistics_file.h"

namespace scute {

/// One bucket. Its percentiles are signed: p of 99.9 is a value with 99.9 % of the values at or
/// below it.
struct PercentileTable {
  double min = 0, max = 0;  ///< finite
  int64_t numel = 0;        ///< values seen, by the file's word; -1: it does not say
  /// Number (0 … 100) and value, numbers ascending. Finite values ascend too (up to the rounding of
  /// f32) and lie within [min, max]; NaN where the tool wrote it.
  std::vector<std::pair<double, double>> percentiles;
  std::string module;  ///< where it was hooked; may be empty

  /// The value, or null when that percentile was not recorded.
  const double* find(double percentile) const;
  /// "p25, p50, …": what was recorded.
  std::string recorded() const;
};

struct PercentileTables {
  std::string file;
  std::map<std::string, PercentileTable> buckets;
  std::vector<std::string> missing;  ///< targets that the file names and has nothing of
  Json config;                       ///< of the collection, as the file has it; null: not there
};

/// Whether a .pt file is one that plan_from_tables() is for: not of scute's own format. False for
/// other endings.
bool holds_percentile_tables(const InputFile& file);
bool holds_percentile_tables(const std::string& path);

/// Accepts {"config", "targets", "observers": {bucket: {"mode", "target", "module", "numel", "min",
/// "max", "percentiles": {"p99.9": …}, "p99.9"…}}} and the flat {bucket: {"min", "max", "numel",
/// "percentiles"}, "meta"?}; "numel" may be absent. Percentile keys are p99.9 or p99_9, in the
/// bucket or its "percentiles", there also 99.9. Bucket names as normalize_target() knows them.
/// Error "FILE: BUCKET: KEY: expected …, found …" with the remedy: keys missing, types, min or max
/// not finite, min above max, a negative numel, no percentile, two values for one, values that fall
/// as percentiles rise, unknown buckets.
PercentileTables read_percentile_tables(const InputFile& file);
PercentileTables read_percentile_tables(const std::string& path);
/// The same of what such a file holds.
PercentileTables percentile_tables_of(const TorchValue& root, const std::string& where);

/// What a .pt would say of a statistic: 13 percentiles, exact.
PercentileTable table_of(const Statistic& statistic);
/// The eight that the tail rules need. Error naming `bucket` and those that are missing or not
/// finite, why that may be and what to do.
TailPercentiles tail_percentiles(std::string_view bucket, const PercentileTable& table);

/// What percentiles tell of the share of values within [lo, hi]. All in [0, 1]; they are as good as
/// the tool's percentiles, of the values it kept.
struct CoverageBounds {
  double least = 0, most = 1;
  double least_below_hi = 0;  ///< share at or below hi, at least
  double most_below_lo = 1;   ///< share below lo, at most
};
CoverageBounds coverage_bounds(const PercentileTable& table, double lo, double hi);

/// A range by minmax (and quamba, which is min-max at buckets), tail, or percentile where that
/// percentile was recorded: ±|P| cut to [min, max] and to 0 on a side without values. Where the
/// recorded percentiles prove that −|P| lies above a quarter of the values or more (data shifted to
/// the negative side), the lower side keeps its minimum. `clipped` and `coverage` are NaN unless
/// the extremes tell them, `sqnr` is NaN always; `remark` says what cannot be known. Error naming
/// the bucket, cause and remedy: auto, mse and entropy (they need the shape of the distribution), a
/// percentile that was not recorded (naming those that were), nothing recorded, NaN.
Decision decide_from_table(const Policy& policy, std::string_view bucket,
                           const PercentileTable& table, GridSpec grid);

/// What a site is decided by where nobody says otherwise: a bucket by tail, the rules that this
/// pipeline has always had, the sites inside it by auto, because tail clips about 1 % of what
/// products read (decision 9).
Policy default_policy(std::string_view site);
inline constexpr std::string_view kDefaultPolicy = "tail for buckets, else auto";
/// Every site by its default_policy(), with the meta that decide writes. `percentile_override`: for
/// the buckets, instead of what the tail's rules pick.
Plan default_plan(const StatisticsSet& statistics, const std::string& statistics_sha256,
                  std::optional<double> percentile_override);

/// Decides every bucket; per-site globs as in make_plan(). One Error for all that cannot be
/// decided, `missing` ones among them. No meta.
Plan plan_from_tables(const PercentileTables& tables, const PlanOptions& options);
/// format, version, tool, the file's config and hash, and that counts were not recorded.
Json table_meta(const PercentileTables& tables, const std::string& statistics_sha256);

/// Error naming every bucket of the set that cannot be decided, with cause and remedy: it saw no
/// value, or NaN or Inf ones (unless `allow_nonfinite`).
void check_buckets(const StatisticsSet& statistics, bool allow_nonfinite);
/// Adds to buckets' remarks what makes their ranges doubtful: constant data, no spread (S = 0).
void add_spread_remarks(const StatisticsSet& statistics, Plan& plan);

}  // namespace scute
