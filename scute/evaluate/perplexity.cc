#include "scute/evaluate/perplexity.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <limits>

#include "scute/base/error.h"
#include "scute/base/portable_math.h"

namespace scute {
namespace {

void check(const PerplexityOptions& options, int64_t tokens) {
  if (options.window < 2) fail("--window", "at least 2 tokens", fmt::format("{}", options.window));
  if (options.stride < 1 || options.stride > options.window) {
    fail("--stride", fmt::format("1 to the window, {}", options.window),
         fmt::format("{}", options.stride));
  }
  if (options.max_windows && *options.max_windows < 1) {
    fail("--max-windows", "at least 1", fmt::format("{}", *options.max_windows));
  }
  if (options.context < 1 || options.context >= options.window) {
    fail("--context", fmt::format("1 to {}, less than the window", options.window - 1),
         fmt::format("{}", options.context));
  }
  if (tokens < options.window) {
    fail("perplexity", fmt::format("text of at least one window of {} tokens", options.window),
         fmt::format("{} tokens", tokens));
  }
}

Json json_of(const WindowScore& window) {
  Json out;
  out["start"] = window.start;
  out["predictions"] = window.predictions;
  out["nll"] = window.nll;
  return out;
}

WindowScore window_of(const Json& kept) {
  return {kept.at("start", "window").as_int("start"),
          kept.at("predictions", "window").as_int("predictions"), number_of(kept, "nll")};
}

}  // namespace

MeanAndError mean_and_error(std::span<const double> items) {
  if (std::ranges::all_of(items, [&](double x) { return x == items.front(); })) {
    return {items.front(), std::numeric_limits<double>::quiet_NaN()};
  }
  const auto n = static_cast<double>(items.size());
  double mean = 0;
  for (const double x : items) mean += x / n;
  double squares = 0;
  for (const double x : items) squares += (x - mean) * (x - mean);
  return {mean, std::sqrt(squares / (n - 1) / n)};
}

PerplexityResult perplexity(const ScoreSequences& score, std::span<const int32_t> stream,
                            const PerplexityOptions& options,
                            const std::function<void(int64_t)>& progress, const KeptItems& kept,
                            const std::string& task) {
  const auto tokens = static_cast<int64_t>(stream.size());
  check(options, tokens);
  int64_t count = (tokens - options.window) / options.stride + 1;
  if (options.max_windows) count = std::min(count, *options.max_windows);

  std::vector<WindowScore> windows(static_cast<size_t>(count));
  std::vector<ScoredSequence> sequences;
  for (int64_t i = 0; i < count; ++i) {
    WindowScore& window = windows[static_cast<size_t>(i)];
    if (const Json* known = kept.find(task, i)) window = window_of(*known);
    if (window.predictions > 0 || !kept.wants(i)) continue;
    window.start = i * options.stride;
    const int64_t seen = i == 0 ? 0 : std::max<int64_t>(0, options.window - options.stride - 1);
    sequences.push_back({.ids = stream.subspan(static_cast<size_t>(window.start),
                                               static_cast<size_t>(options.window)),
                         .first = std::max(seen, options.context - 1),
                         .number = i});
  }
  std::atomic<int64_t> done{0};
  score(sequences, [&](int64_t index, const Continuation& scored) {
    const int64_t i = sequences[static_cast<size_t>(index)].number;
    WindowScore& window = windows[static_cast<size_t>(i)];
    window.predictions = std::ssize(scored.nll);
    window.nll = 0;
    for (const double x : scored.nll) window.nll += x;
    kept.tell(task, i, json_of(window));
    if (progress) progress(done.fetch_add(1) + 1);
  });

  std::erase_if(windows, [](const WindowScore& window) { return window.predictions == 0; });
  return summarize(std::move(windows));
}

PerplexityResult perplexity(const LanguageModel& model, std::span<const int32_t> stream,
                            const PerplexityOptions& options, const Threads& threads) {
  return perplexity(score_by(model, threads, options.feed), stream, options);
}

PerplexityResult summarize(std::vector<WindowScore> windows) {
  PerplexityResult result{.windows = std::move(windows)};
  if (result.windows.empty()) return result;
  double nll = 0;
  std::vector<double> means;
  for (const WindowScore& window : result.windows) {
    result.predictions += window.predictions;
    nll += window.nll;
    means.push_back(window.nll / static_cast<double>(window.predictions));
  }
  result.mean_nll = nll / static_cast<double>(result.predictions);
  result.standard_error = mean_and_error(means).standard_error;
  result.perplexity = portable::exp(result.mean_nll);
  return result;
}

}  // namespace scute
