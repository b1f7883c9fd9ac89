// Two models on the same items, item by item: most of what makes items easy or hard is common to
// both and cancels.
#pragma once

#include <cstdint>
#include <span>

#include "scute/evaluate/last_word.h"
#include "scute/evaluate/perplexity.h"

namespace scute {

/// Perplexity of `model` over that of `reference`.
struct PerplexityRatio {
  double ratio = 1;
  double standard_error = 0;  ///< paired over windows, by the delta method; as mean_and_error
};
/// exp of the difference of the mean nll per prediction. Error when the windows are not the same.
PerplexityRatio compare(const PerplexityResult& model, const PerplexityResult& reference);

/// Hits of two models on the same passages.
struct HitComparison {
  int64_t gained = 0;                         ///< hits of `model` alone
  int64_t lost = 0;                           ///< hits of `reference` alone
  double difference = 0, standard_error = 0;  ///< of the accuracies; as mean_and_error
  /// McNemar's exact test: the chance of a split at least this uneven if both were equally good.
  double p = 1;
};
/// Error when the numbers of items differ or are 0.
HitComparison compare(const LastWordResult& model, const LastWordResult& reference);

/// McNemar's exact test, two-sided: 2·P(at most `few` of n fair coins), at most 1.
double mcnemar(int64_t few, int64_t n);

}  // namespace scute
