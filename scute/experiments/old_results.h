// Results as records had them before they listed their metrics, and as other tools still have them:
// the only place that knows such results by name.
#pragma once

#include "scute/base/json.h"
#include "scute/evaluate/score.h"

namespace scute {

/// The same list that a record has today, without items. What stands on top alone (`accuracy`,
/// `perplexity`: of the last-word task) has no protocol.
Score old_score(const Json& results, const Json& hashes);

}  // namespace scute
