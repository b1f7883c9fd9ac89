#include "scute/evaluate/last_word.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <optional>

#include "scute/base/error.h"
#include "scute/base/portable_math.h"
#include "scute/evaluate/perplexity.h"
#include "scute/evaluate/score.h"

namespace scute {
namespace {

ScoredSequence sequence_of(const LastWordItem& item, int64_t index, int64_t max_context) {
  const auto length = static_cast<int64_t>(item.ids.size());
  if (item.target < 1 || item.target >= length) {
    fail(fmt::format("last-word item {}", index), "at least one context and one target token",
         fmt::format("{} tokens of which {} are the target", length, item.target));
  }
  const auto ids = scored_ids(item, max_context);
  return {.ids = ids, .first = std::ssize(ids) - item.target - 1};
}

LastWordScore score_of(const Continuation& scored) {
  LastWordScore out{true, 0};
  for (size_t i = 0; i < scored.nll.size(); ++i) {
    out.hit = out.hit && scored.greedy[i] != 0;
    out.nll += scored.nll[i];
  }
  return out;
}

Json json_of(const LastWordScore& score) {
  Json out;
  out["hit"] = score.hit;
  out["nll"] = score.nll;
  return out;
}

LastWordScore score_of(const Json& kept) {
  return {kept.at("hit", "passage").as_bool("hit"), number_of(kept, "nll")};
}

}  // namespace

std::span<const int32_t> scored_ids(const LastWordItem& item, int64_t max_context) {
  const auto kept = std::min(std::ssize(item.ids), std::max(max_context + 1, item.target + 1));
  return std::span(item.ids).last(static_cast<size_t>(kept));
}

LastWordResult last_word(const ScoreSequences& score, std::span<const LastWordItem> items,
                         int64_t max_context, const std::function<void(int64_t)>& progress,
                         const KeptItems& kept, const std::string& task) {
  if (items.empty()) fail("last word", "at least one item", "none");
  std::vector<std::optional<LastWordScore>> scores(items.size());
  std::vector<ScoredSequence> sequences;
  std::vector<int64_t> numbers;
  for (int64_t i = 0; i < std::ssize(items); ++i) {
    const auto at = static_cast<size_t>(i);
    if (const Json* known = kept.find(task, i)) scores[at] = score_of(*known);
    if (scores[at] || !kept.wants(i)) continue;
    sequences.push_back(sequence_of(items[at], i, max_context));
    numbers.push_back(i);
  }
  std::atomic<int64_t> done{0};
  score(sequences, [&](int64_t index, const Continuation& scored) {
    const int64_t i = numbers[static_cast<size_t>(index)];
    auto& to = scores[static_cast<size_t>(i)];
    to = score_of(scored);
    kept.tell(task, i, json_of(*to));
    if (progress) progress(done.fetch_add(1) + 1);
  });
  std::vector<LastWordScore> there;
  for (const auto& one : scores) {
    if (one) there.push_back(*one);
  }
  return summarize(std::move(there));
}

LastWordResult last_word(const LanguageModel& model, std::span<const LastWordItem> items,
                         const Threads& threads, int64_t max_context) {
  return last_word(score_by(model, threads), items, max_context);
}

LastWordResult summarize(std::vector<LastWordScore> items) {
  LastWordResult result{.items = std::move(items)};
  if (result.items.empty()) return result;
  std::vector<double> nlls;
  for (const LastWordScore& item : result.items) {
    result.hits += item.hit ? 1 : 0;
    nlls.push_back(item.nll);
  }
  const auto total = static_cast<int64_t>(result.items.size());
  const auto nll = mean_and_error(nlls);
  result.accuracy = static_cast<double>(result.hits) / static_cast<double>(total);
  result.accuracy_error = share_error(result.accuracy, total);
  result.perplexity = portable::exp(nll.mean);
  result.perplexity_error = result.perplexity * nll.standard_error;
  return result;
}

}  // namespace scute
