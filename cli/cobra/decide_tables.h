// decide for the vision-language model: what it says of buckets, and of other tools' statistics.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "scute/cobra/percentile_tables.h"

namespace scute::cli {

/// Percentiles by bucket: what the tail rules looked at.
using BucketTables = std::map<std::string, PercentileTable>;
/// Of the set's buckets.
BucketTables bucket_tables(const StatisticsSet& statistics);

/// Leaves only these buckets, in `sites` and in `missing`. Error naming those that are not there,
/// what is, and what to do; `file` is where they were looked for.
void keep_targets(const std::vector<std::string>& targets, const std::string& file,
                  StatisticsSet& statistics);
void keep_targets(const std::vector<std::string>& targets, PercentileTables& tables);

/// "vision.dino  tail (rule 6): p99.99, range −15.2 .. 15.6, coverage 99.9912 %", a line a bucket.
std::string bucket_lines(const Plan& plan, const BucketTables& tables);
/// {bucket: {"policy", "rule", "percentile", "lo", "hi", "coverage", "coverage_bounds"}}; rule is
/// null without tail's rules, coverage null where it is not known.
Json buckets_json(const Plan& plan, const BucketTables& tables);

/// What a plan from another tool's percentiles says to people, but for remarks and files written.
std::string tables_text(const Plan& plan, const PercentileTables& tables);
/// The part of the answer for programs that the plan does not hold.
Json tables_summary(const Plan& plan);

}  // namespace scute::cli
