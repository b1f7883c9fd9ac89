// Scores in records and beside them: `results.metrics`, and the files of items.
#pragma once

#include <string>

#include "scute/base/json.h"
#include "scute/evaluate/score.h"
#include "scute/experiments/log.h"

namespace scute {

/// What a record keeps: [{"metric", "unit", "direction", "form", "mean", "standard_error", "items":
/// how many, "protocol", "items_in", "words"}, …], docs/formats.md; of shares that share_bound()
/// bounds also "bound". Numbers that are not finite are null.
Json metrics_json(const Score& score);

/// What a record says, without items; of records without `metrics` what old_score() makes of them.
/// Metrics without a finite mean, and what is no metric at all, are left out: logs are not trusted.
Score read_score(const Json& results, const Json& hashes);
Score read_score(const LogEntry& entry);

/// Whether a record says that some score of it is not finite; such metrics are left out above.
bool is_not_finite(const Json& results);

/// Adds the items in a file to the metrics that keep some. Error naming file and line on what is no
/// item of any of them.
void read_items(const std::string& path, Score& score);

}  // namespace scute
