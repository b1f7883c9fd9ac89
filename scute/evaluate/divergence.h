// How far one model's predictions are from another's.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "scute/base/threads.h"
#include "scute/evaluate/perplexity.h"

namespace scute {

/// The Kullback-Leibler divergence of one distribution over the next token from another, given by
/// their logits, nats: Σ p·(log p − log q), where p is the reference. Never negative; NaN when a
/// logit is. Error when the numbers differ or are 0.
double divergence(std::span<const float> logits, std::span<const float> reference);

/// The Kullback-Leibler divergence of `model`'s next-token distributions from those of `reference`,
/// nats per token: Σ p·(log p − log q), mean over all positions of the sequences; its standard
/// error over sequences. Never negative, and far less noisy than a difference of perplexities.
/// Error when vocabularies differ or there is no sequence.
MeanAndError divergence(const LanguageModel& model, const LanguageModel& reference,
                        const std::vector<std::vector<int32_t>>& sequences, const Threads& threads);

/// The same of several models against one reference, whose states and predictions are computed once
/// for all of them. A sequence holds one L × D matrix of hidden states for each model, and 64 rows
/// of logits, a thread.
std::vector<MeanAndError> divergences(std::span<const LanguageModel> models,
                                      const LanguageModel& reference,
                                      const std::vector<std::vector<int32_t>>& sequences,
                                      const Threads& threads);

}  // namespace scute
