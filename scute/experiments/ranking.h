// Which of several experiments is best, and whether that means anything.
#pragma once

#include <string>
#include <vector>

#include "scute/experiments/difference.h"
#include "scute/experiments/log.h"

namespace scute {

struct RankedExperiment {
  const LogEntry* entry = nullptr;
  Score score;  ///< with its items, where these can be read
  /// Of this experiment against the best one of the group, one for each result that both have; p
  /// values corrected for as many questions as the group asks. Empty for the best one.
  std::vector<Difference> against_best;
};

/// Experiments of one model, best first; float ones, the reference, behind all others, and last
/// those whose scores are not finite.
struct Ranking {
  std::string model;  ///< config.model of the first
  /// What they are ordered by: the first metric that every one has. Empty without one: the order
  /// given, and no differences.
  std::string metric;
  std::vector<RankedExperiment> experiments;
};

/// One ranking for each model (hashes.model, else config.model), in the order of their first
/// entries. `folder`: as for compare_results. Differences from the best are corrected by Holm's
/// method, for each metric among the experiments of one model; that the best one was chosen by
/// looking at the same items is not corrected.
std::vector<Ranking> rank_experiments(const std::vector<const LogEntry*>& entries,
                                      const std::string& folder);

/// The setting in a few words: "W8A8 quamba 0.9995", "W4A16 gptq auto", "float".
std::string setting_text(const LogEntry& entry);

}  // namespace scute
