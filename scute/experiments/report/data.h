// What the report shows, as JSON for the page: internal to this folder.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "scute/base/json.h"
#include "scute/base/threads.h"
#include "scute/experiments/report/report.h"
#include "scute/observe/distribution.h"

namespace scute {

/// Counts of equally wide bins that cover [lo, hi]; they add up to all finite values, and the
/// outermost bins end at the true min and max. Values are counted where their bucket's
/// representative lies.
struct LinearBins {
  double lo = 0, hi = 0;
  std::vector<uint64_t> counts;
};
/// 112 bins, or one when all values are equal.
LinearBins linear_bins(const Distribution& distribution);

/// Bins of log2|x|: bin i holds first + i·step ≤ log2|x| < first + (i + 1)·step. At most 112 bins:
/// step is the smallest power of two from 1/8 that allows that.
struct OctaveBins {
  double first = 0, step = 0.125;
  uint64_t zeros = 0;  ///< have no logarithm
  std::vector<uint64_t> counts;
};
OctaveBins octave_bins(const Distribution& distribution);

/// The policies of the report, in the order of its tables.
const std::vector<std::string>& report_policies();

/// "layer_3.x_proj:input" is layer 3, op "x_proj:input"; "blocks.3.in_proj:input" layer 3, op
/// "blocks.in_proj:input". layer −1: in no layer.
struct SiteName {
  int64_t layer = -1;
  std::string op;
};
SiteName split_site(std::string_view site);

/// Buckets first, in the order they are listed everywhere, then text order with digits by number.
bool shown_before(std::string_view a, std::string_view b);
/// The signed percentiles of a bucket's table, 0.1 … 99.999.
const std::vector<double>& bucket_percentiles();
/// What a bucket shows besides what every site does: {"percentiles": their values, "because": one
/// sentence for each of report_policies()}; nothing finite seen: {}.
Json bucket_data(const Distribution& distribution, Json because);
/// Where the values come from: model, amount, files. Statistics of pictures also have "pictures":
/// {"listed", "measured", "unused", "corrupt"} and "text": what was said beside them, one entry for
/// each way of the parts that were merged; of their files the first 200.
Json origin(const Json& meta);

/// As many significant digits; null for what is not finite: JSON knows no infinity.
Json number(double value, int digits = 6);
/// A copy that every JSON reader takes: null in place of numbers that are not finite.
Json finite(const Json& json);

/// What a plan makes of one site: [lo, hi, clipped, SQNR, bits, sentence], measured on these values
/// and not taken from the plan; null when the plan does not name the site.
Json plan_row(const Plan& plan, const std::string& site, const Distribution& distribution);
/// {"name", "sites"} of each plan. Error as make_report.
Json plans_data(const ReportOptions& options);

Json statistics_data(const ReportStatistics& statistics, const std::vector<ReportPlan>& plans,
                     const Threads& threads);
Json log_data(const ExperimentLog& log, int64_t most, const Threads& threads);
Json checkpoint_data(const Trace& trace, const Json& recipe);

}  // namespace scute
