#include "scute/evaluate/divergence.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "scute/base/error.h"
#include "scute/kernels/elementwise.h"

namespace scute {
namespace {

constexpr int64_t kRowsAtOnce = 64;

double row_divergence(const float* p_logits, const float* q_logits, int64_t n) {
  const double p_total = log_sum_exp(p_logits, n), q_total = log_sum_exp(q_logits, n);
  double sum = 0;
  for (int64_t i = 0; i < n; ++i) {
    const double p = static_cast<double>(p_logits[i]) - p_total;
    sum += std::exp(p) * (p - (static_cast<double>(q_logits[i]) - q_total));
  }
  return sum < 0 ? 0 : sum;  // NaN stays
}

double mean_of_sequence(const LanguageModel& model, const LanguageModel& reference, Run& run,
                        std::span<const int32_t> ids) {
  const auto length = static_cast<int64_t>(ids.size());
  const Arena::Scope scope(run.arena());
  const auto hidden = [&](const LanguageModel& which) {
    const auto out = run.matrix(length, which.config().width);
    State state = which.new_state();
    which.hidden(run, ids, state, out);
    return out;
  };
  const auto p_hidden = hidden(reference), q_hidden = hidden(model);
  const int64_t rows = std::min(kRowsAtOnce, length), V = model.config().vocabulary;
  const auto p = run.matrix(rows, V), q = run.matrix(rows, V);
  double sum = 0;
  for (int64_t t = 0; t < length; t += kRowsAtOnce) {
    const int64_t n = std::min(kRowsAtOnce, length - t);
    reference.logits(run, p_hidden.slice_rows(t, n), p.slice_rows(0, n));
    model.logits(run, q_hidden.slice_rows(t, n), q.slice_rows(0, n));
    for (int64_t r = 0; r < n; ++r) sum += row_divergence(p.row(r), q.row(r), V);
  }
  return sum / static_cast<double>(length);
}

}  // namespace

double divergence(std::span<const float> logits, std::span<const float> reference) {
  if (logits.size() != reference.size() || logits.empty()) {
    fail("divergence", fmt::format("{} logits, at least one", reference.size()),
         fmt::format("{}", logits.size()));
  }
  return row_divergence(reference.data(), logits.data(), std::ssize(logits));
}

MeanAndError divergence(const LanguageModel& model, const LanguageModel& reference,
                        const std::vector<std::vector<int32_t>>& sequences,
                        const Threads& threads) {
  if (sequences.empty()) fail("divergence", "at least one sequence", "none");
  if (model.config().vocabulary != reference.config().vocabulary) {
    fail("divergence", fmt::format("a vocabulary of {}", reference.config().vocabulary),
         fmt::format("{}", model.config().vocabulary));
  }
  std::vector<double> means(sequences.size());
  std::vector<Run> runs = Run::of_workers(threads);
  threads.for_each(static_cast<int64_t>(sequences.size()), [&](int64_t i, int worker) {
    const auto at = static_cast<size_t>(i);
    means[at] =
        mean_of_sequence(model, reference, runs[static_cast<size_t>(worker)], sequences[at]);
  });
  return mean_and_error(means);
}

}  // namespace scute
