// Rankings in words and as JSON: what `scute sweep` ends with.
#pragma once

#include <string>

#include "scute/base/json.h"
#include "scute/experiments/ranking.h"

namespace scute::cli {

/// The model, a table of its experiments, best first, and what the differences
/// mean.
std::string ranking_text(const Ranking& ranking);
Json ranking_json(const Ranking& ranking);

}  // namespace scute::cli
