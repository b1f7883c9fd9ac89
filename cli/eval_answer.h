// What eval found, as JSON, as words, and item by item.
#pragma once

#include <optional>
#include <string>

#include "scute/base/json.h"
#include "scute/evaluate/compare.h"

namespace scute::cli {

/// The scores of one model.
struct Scores {
  std::optional<PerplexityResult> perplexity;
  std::optional<LastWordResult> last_word;
};

/// Files and protocol of the scores.
struct Protocol {
  std::string perplexity_file, last_word_file;
  PerplexityOptions options;
  int64_t max_context = 2048;
  int64_t stream_tokens = 0, windows_fitting = 0;
};

struct Answer {
  Json json;
  std::string text, items;
};

/// Adds scores to the answer; `items` holds the passages' target lengths.
void add_perplexity(const PerplexityResult& result, const Protocol& protocol, Answer& answer);
void add_last_word(const LastWordResult& result, const std::vector<LastWordItem>& items,
                   const Protocol& protocol, Answer& answer);
/// Adds how they compare with those of `reference`.
void add_comparison(const Scores& scores, const Scores& reference, const std::string& name,
                    Answer& answer);

}  // namespace scute::cli
