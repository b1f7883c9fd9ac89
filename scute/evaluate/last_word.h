// Last-word prediction (the LAMBADA definition), item by item.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "scute/base/threads.h"
#include "scute/evaluate/continuation.h"
#include "scute/evaluate/kept_items.h"

namespace scute {

/// One passage: all its tokens, of which the last `target` belong to the last word.
struct LastWordItem {
  std::vector<int32_t> ids;
  int64_t target;
};

/// The ids that are read: the last `max_context` + 1, and always all of the target's and one more.
std::span<const int32_t> scored_ids(const LastWordItem& item, int64_t max_context);

/// The score of one passage.
struct LastWordScore {
  bool hit;    ///< every target token was the argmax
  double nll;  ///< Σ −log p over the target tokens
};

/// The scores of all passages, and their means.
struct LastWordResult {
  std::vector<LastWordScore> items;
  int64_t hits = 0;
  double accuracy = 0, accuracy_error = 0;  ///< share of hits; the error is share_error()
  double perplexity = 0,
         perplexity_error = 0;  ///< per word: exp(mean nll); error by the delta method
};

/// What follows from the items' scores, at least one.
LastWordResult summarize(std::vector<LastWordScore> items);

/// Items are cut on the left to the last `max_context` + 1 tokens. Error on an item without target
/// or context token. `kept` and `task` as in perplexity().
LastWordResult last_word(const ScoreSequences& score, std::span<const LastWordItem> items,
                         int64_t max_context = 2048,
                         const std::function<void(int64_t)>& progress = {},
                         const KeptItems& kept = KeptItems(),
                         const std::string& task = "last_word");
LastWordResult last_word(const LanguageModel& model, std::span<const LastWordItem> items,
                         const Threads& threads, int64_t max_context = 2048);

}  // namespace scute
