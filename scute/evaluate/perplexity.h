// Perplexity of a token stream, window by window, with its protocol and standard error.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <vector>

#include "scute/base/threads.h"
#include "scute/evaluate/continuation.h"
#include "scute/evaluate/kept_items.h"

namespace scute {

/// Windows of `window` tokens start every `stride` tokens; the tail that does not fill one is
/// dropped. Each predicts its tokens from the second on, but only those that no earlier window
/// predicted.
struct PerplexityOptions {
  int64_t window = 2048;
  int64_t stride = 2048;
  std::optional<int64_t> max_windows = std::nullopt;
  int64_t context = 1;  ///< tokens at a window's start that are read but not predicted, at least 1
  Feed feed = Feed::whole;
};

/// The score of one window.
struct WindowScore {
  int64_t start;        ///< first token in the stream
  int64_t predictions;  ///< window − 1, or stride for overlapping windows after the first
  double nll;           ///< Σ −log p, natural logarithm
};

/// The scores of all windows, and their mean.
struct PerplexityResult {
  std::vector<WindowScore> windows;
  int64_t predictions = 0;
  double mean_nll = 0;        ///< per prediction
  double standard_error = 0;  ///< of mean_nll, over windows; NaN for one
  double perplexity = 0;      ///< exp(mean_nll)
};

/// What follows from the windows' scores, at least one.
PerplexityResult summarize(std::vector<WindowScore> windows);

/// Error when options make no sense or the stream has no full window. `progress` (may be empty) is
/// called with the number of windows finished, from any thread. With `kept` the windows that it
/// knows or wants alone, of the task of that name; the result of none is not to be used.
/// options.feed is for whoever makes `score`.
PerplexityResult perplexity(const ScoreSequences& score, std::span<const int32_t> stream,
                            const PerplexityOptions& options,
                            const std::function<void(int64_t)>& progress = {},
                            const KeptItems& kept = KeptItems(),
                            const std::string& task = "perplexity");
PerplexityResult perplexity(const LanguageModel& model, std::span<const int32_t> stream,
                            const PerplexityOptions& options, const Threads& threads);

/// Mean and the standard error of the mean of independent items, at least one. The error is NaN for
/// one item, and where all are the same: a spread of zero is what few items show of rare others.
struct MeanAndError {
  double mean, standard_error;
};
MeanAndError mean_and_error(std::span<const double> items);

}  // namespace scute
