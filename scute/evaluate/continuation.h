// What a model gives each token of a sequence after those before it.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "scute/base/threads.h"
#include "scute/models/language/language_model.h"

namespace scute {

/// Whether a sequence is read at once, or token by token from a state, as in generation: only then
/// is a low-bit state rounded at every token.
enum class Feed { whole, one_by_one };

/// Σ −log p(ids[t+1] | ids[0…t]) for each t from `first` on; one forward pass from a zero state.
/// Also says of each prediction whether it was the argmax. `sequence` keys stochastic rounding.
struct Continuation {
  std::vector<double> nll;
  std::vector<char> greedy;
};
Continuation score_continuation(const LanguageModel& model, Run& run, std::span<const int32_t> ids,
                                int64_t first, Feed feed = Feed::whole, int64_t sequence = 0);

/// Rows of logits held at once: 64 × 50,288 floats are 13 MB, where a window of 2048 would take
/// 412.
constexpr int64_t kScoredRows = 64;
/// The head, of some rows: hidden, L × D, to logits, L × V.
using HeadOf = std::function<void(MatView<const float> hidden, MatView<float> logits)>;
/// The same of what the final norm gave for these ids, L × D: the head is `head`, of a vocabulary
/// of so many tokens.
Continuation score_hidden(Run& run, std::span<const int32_t> ids, int64_t first,
                          MatView<const float> hidden, int64_t vocabulary, const HeadOf& head);

/// One of many.
struct ScoredSequence {
  std::span<const int32_t> ids;
  int64_t first = 0;   ///< t of its first prediction
  int64_t number = 0;  ///< what stochastic rounding is keyed by
};
/// Scores these in any order, and calls scored(index among them, continuation) of each once, from
/// any thread.
using ScoreSequences =
    std::function<void(std::span<const ScoredSequence> sequences,
                       const std::function<void(int64_t index, const Continuation&)>& scored)>;

/// All weights packed, a sequence from its first token to its last layer; model and threads must
/// live as long as what is returned.
ScoreSequences score_by(const LanguageModel& model, const Threads& threads,
                        Feed feed = Feed::whole);

}  // namespace scute
