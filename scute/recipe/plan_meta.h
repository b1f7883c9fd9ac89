// Where a plan comes from: what it repeats of its statistics' origin.
#pragma once

#include <string>

#include "scute/observe/statistics_file.h"

namespace scute {

/// format, version, tool; model, tokenizer, sampling and data files as the statistics name them;
/// statistics_sha256, which is left out where there is no file (""). Whoever decided adds policy,
/// bits and command.
Json plan_meta(const StatisticsSet& statistics, const std::string& statistics_sha256);

}  // namespace scute
