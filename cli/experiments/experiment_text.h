// One experiment in words: what `scute run` ends with and `scute log show` shows.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "scute/base/json.h"
#include "scute/evaluate/score.h"

namespace scute::cli {

/// The terminal summary of a record, in the layout of this field's tools: configuration, the first
/// sites' ranges before and after clipping, averages, reorder effect, results, files, timing. Every
/// key may be missing or of the wrong type, as in other tools' logs.
std::string summary_text(const Json& record);

/// The results alone.
std::string results_text(const Json& record);

/// "27.17 ± 0.61"; without an error the number alone, "-" without a number.
std::string with_error(std::optional<double> value, std::optional<double> error, int digits = 2);
/// "27.170 ± 0.610", "50.00 ± 16.66 %", as its unit is shown.
std::string score_text(const MetricScore& score);
/// "W8A8" of a configuration; "-" when it does not say.
std::string bits_text(const Json& config);
/// A number short, a string as it is, anything else as JSON; "-" for null and for nothing.
std::string value_text(const Json* value);

/// One site of activation_stats; numbers that it lacks are empty.
struct SiteRanges {
  std::string site;
  std::optional<double> before_min, before_max, before_range, after_min, after_max, after_range;
  std::optional<double> clipped, clipped_nominal, reduction;  ///< shares, 0 … 1

  bool in_first_layers() const;  ///< layer 0, 1 or 2
};
/// In the record's order.
std::vector<SiteRanges> site_ranges(const Json& record);

/// "[-1.9, 1.69]  range 3.59"
std::string range_text(std::optional<double> lo, std::optional<double> hi,
                       std::optional<double> range);
/// "0.049 %" of a share.
std::string percent_text(std::optional<double> share);

}  // namespace scute::cli
