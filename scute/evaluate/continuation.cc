#include "scute/evaluate/continuation.h"

#include <algorithm>

#include "scute/kernels/elementwise.h"

namespace scute {

Continuation score_continuation(const LanguageModel& model, Run& run, std::span<const int32_t> ids,
                                int64_t first, Feed feed, int64_t sequence) {
  const auto length = static_cast<int64_t>(ids.size());
  const Arena::Scope scope(run.arena());
  const auto hidden = run.matrix(length, model.config().width);
  State state = model.new_state(sequence);
  const int64_t step = feed == Feed::whole ? length : 1;
  for (int64_t t = 0; t < length; t += step) {
    model.hidden(run, ids.subspan(static_cast<size_t>(t), static_cast<size_t>(step)), state,
                 hidden.slice_rows(t, step));
  }
  return score_hidden(
      run, ids, first, hidden, model.config().vocabulary,
      [&](MatView<const float> rows, MatView<float> logits) { model.logits(run, rows, logits); });
}

Continuation score_hidden(Run& run, std::span<const int32_t> ids, int64_t first,
                          MatView<const float> hidden, int64_t vocabulary, const HeadOf& head) {
  const auto length = static_cast<int64_t>(ids.size());
  const Arena::Scope scope(run.arena());
  const auto logits = run.matrix(std::min(kScoredRows, length), vocabulary);
  Continuation out;
  for (int64_t t = first; t + 1 < length; t += kScoredRows) {
    const auto rows = logits.slice_rows(0, std::min(kScoredRows, length - 1 - t));
    head(hidden.slice_rows(t, rows.rows), rows);
    for (int64_t r = 0; r < rows.rows; ++r) {
      const int64_t target = ids[static_cast<size_t>(t + r + 1)];
      out.nll.push_back(log_sum_exp(rows.row(r), rows.cols) -
                        static_cast<double>(rows.row(r)[target]));
      out.greedy.push_back(argmax(rows.row(r), rows.cols) == target ? 1 : 0);
    }
  }
  return out;
}

ScoreSequences score_by(const LanguageModel& model, const Threads& threads, Feed feed) {
  return [&model, &threads, feed](std::span<const ScoredSequence> sequences, const auto& scored) {
    std::vector<Run> runs = Run::of_workers(threads);
    threads.for_each(std::ssize(sequences), [&](int64_t i, int worker) {
      const ScoredSequence& one = sequences[static_cast<size_t>(i)];
      scored(i, score_continuation(model, runs[static_cast<size_t>(worker)], one.ids, one.first,
                                   feed, one.number));
    });
  };
}

}  // namespace scute
