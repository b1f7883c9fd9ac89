#include "scute/evaluate/last_word.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <cmath>

#include "scute/base/error.h"
#include "scute/evaluate/perplexity.h"

namespace scute {
namespace {

LastWordScore score(const LanguageModel& model, Run& run, const LastWordItem& item, int64_t index,
                    int64_t max_context) {
  const auto length = static_cast<int64_t>(item.ids.size());
  if (item.target < 1 || item.target >= length) {
    fail(fmt::format("last-word item {}", index), "at least one context and one target token",
         fmt::format("{} tokens of which {} are the target", length, item.target));
  }
  const int64_t kept = std::min(length, std::max(max_context + 1, item.target + 1));
  const auto ids = std::span(item.ids).subspan(static_cast<size_t>(length - kept));
  const auto scored = score_continuation(model, run, ids, kept - item.target - 1);
  LastWordScore out{true, 0};
  for (size_t i = 0; i < scored.nll.size(); ++i) {
    out.hit = out.hit && scored.greedy[i] != 0;
    out.nll += scored.nll[i];
  }
  return out;
}

}  // namespace

LastWordResult last_word(const LanguageModel& model, std::span<const LastWordItem> items,
                         const Threads& threads, int64_t max_context,
                         const std::function<void(int64_t)>& progress) {
  if (items.empty()) fail("last word", "at least one item", "none");
  std::vector<LastWordScore> scores(items.size());
  std::vector<Run> runs(static_cast<size_t>(threads.count()));
  std::atomic<int64_t> done{0};
  threads.for_each(static_cast<int64_t>(items.size()), [&](int64_t i, int worker) {
    const auto at = static_cast<size_t>(i);
    scores[at] = score(model, runs[static_cast<size_t>(worker)], items[at], i, max_context);
    if (progress) progress(done.fetch_add(1) + 1);
  });
  return summarize(std::move(scores));
}

LastWordResult summarize(std::vector<LastWordScore> items) {
  LastWordResult result{.items = std::move(items)};
  std::vector<double> hits, nlls;
  for (const LastWordScore& item : result.items) {
    result.hits += item.hit ? 1 : 0;
    hits.push_back(item.hit ? 1 : 0);
    nlls.push_back(item.nll);
  }
  const auto accuracy = mean_and_error(hits);
  const auto nll = mean_and_error(nlls);
  result.accuracy = accuracy.mean;
  result.accuracy_error = accuracy.standard_error;
  result.perplexity = std::exp(nll.mean);
  result.perplexity_error = result.perplexity * nll.standard_error;
  return result;
}

}  // namespace scute
