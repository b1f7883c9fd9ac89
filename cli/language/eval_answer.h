// What eval found, as JSON, as words, and item by item.
#pragma once

#include <string>

#include "scute/base/json.h"
#include "scute/language/scoring.h"

namespace scute::cli {

struct Answer {
  Json json;
  std::string text, items;
};

/// Adds scores to the answer, as JSON and as words.
void add_perplexity(const PerplexityResult& result, const ScoreOptions& options,
                    const ScoreWork& work, Answer& answer);
void add_last_word(const LastWordResult& result, const ScoreOptions& options, Answer& answer);
/// Adds how they compare with those of `reference`.
void add_comparison(const Scores& scores, const Scores& reference, const std::string& name,
                    Answer& answer);

}  // namespace scute::cli
