#include "scute/evaluate/divergence.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "scute/base/error.h"
#include "scute/base/portable_math.h"
#include "scute/kernels/elementwise.h"

namespace scute {
namespace {

constexpr int64_t kRowsAtOnce = 64;

/// The reference's distributions over the next token of some rows.
class ReferenceRows {
 public:
  explicit ReferenceRows(int64_t vocabulary) : vocabulary_(vocabulary) {}

  void set(MatView<const float> logits) {
    logits_ = logits;
    totals_.resize(static_cast<size_t>(logits.rows));
    shares_.resize(static_cast<size_t>(logits.rows * vocabulary_));
    for (int64_t r = 0; r < logits.rows; ++r) {
      totals_[static_cast<size_t>(r)] = log_sum_exp(logits.row(r), vocabulary_);
      double* shares = shares_.data() + r * vocabulary_;
      for (int64_t i = 0; i < vocabulary_; ++i) shares[i] = portable::exp(log_share(r, i));
    }
  }

  /// Of the distribution that these logits are, from row r.
  double divergence(int64_t r, const float* logits) const {
    const double total = log_sum_exp(logits, vocabulary_);
    const double* shares = shares_.data() + r * vocabulary_;
    double sum = 0;
    for (int64_t i = 0; i < vocabulary_; ++i) {
      sum += shares[i] * (log_share(r, i) - (static_cast<double>(logits[i]) - total));
    }
    return sum < 0 ? 0 : sum;  // NaN stays
  }

 private:
  double log_share(int64_t r, int64_t i) const {
    return static_cast<double>(logits_.row(r)[i]) - totals_[static_cast<size_t>(r)];
  }

  int64_t vocabulary_;
  MatView<const float> logits_;
  std::vector<double> totals_, shares_;
};

/// means[m]: of models[m], per token of this sequence.
void means_of_sequence(std::span<const LanguageModel> models, const LanguageModel& reference,
                       Run& run, std::span<const int32_t> ids, double* means) {
  const auto length = static_cast<int64_t>(ids.size());
  const Arena::Scope scope(run.arena());
  const auto hidden = [&](const LanguageModel& which) {
    const auto out = run.matrix(length, which.config().width);
    State state = which.new_state();
    which.hidden(run, ids, state, out);
    return out;
  };
  const auto p_hidden = hidden(reference);
  std::vector<MatView<float>> q_hidden;
  for (const LanguageModel& model : models) q_hidden.push_back(hidden(model));
  const int64_t rows = std::min(kRowsAtOnce, length), V = reference.config().vocabulary;
  const auto p = run.matrix(rows, V), q = run.matrix(rows, V);
  ReferenceRows expected(V);
  std::fill_n(means, models.size(), 0.0);
  for (int64_t t = 0; t < length; t += kRowsAtOnce) {
    const int64_t n = std::min(kRowsAtOnce, length - t);
    reference.logits(run, p_hidden.slice_rows(t, n), p.slice_rows(0, n));
    expected.set(p.slice_rows(0, n));
    for (size_t m = 0; m < models.size(); ++m) {
      models[m].logits(run, q_hidden[m].slice_rows(t, n), q.slice_rows(0, n));
      for (int64_t r = 0; r < n; ++r) means[m] += expected.divergence(r, q.row(r));
    }
  }
  for (size_t m = 0; m < models.size(); ++m) means[m] /= static_cast<double>(length);
}

}  // namespace

double divergence(std::span<const float> logits, std::span<const float> reference) {
  if (logits.size() != reference.size() || logits.empty()) {
    fail("divergence", fmt::format("{} logits, at least one", reference.size()),
         fmt::format("{}", logits.size()));
  }
  ReferenceRows expected(std::ssize(reference));
  expected.set({reference.data(), 1, std::ssize(reference)});
  return expected.divergence(0, logits.data());
}

MeanAndError divergence(const LanguageModel& model, const LanguageModel& reference,
                        const std::vector<std::vector<int32_t>>& sequences,
                        const Threads& threads) {
  return divergences({&model, 1}, reference, sequences, threads).front();
}

std::vector<MeanAndError> divergences(std::span<const LanguageModel> models,
                                      const LanguageModel& reference,
                                      const std::vector<std::vector<int32_t>>& sequences,
                                      const Threads& threads) {
  if (sequences.empty()) fail("divergence", "at least one sequence", "none");
  for (const LanguageModel& model : models) {
    if (model.config().vocabulary != reference.config().vocabulary) {
      fail("divergence", fmt::format("a vocabulary of {}", reference.config().vocabulary),
           fmt::format("{}", model.config().vocabulary));
    }
  }
  std::vector<double> means(sequences.size() * models.size());
  std::vector<Run> runs = Run::of_workers(threads);
  threads.for_each(static_cast<int64_t>(sequences.size()), [&](int64_t i, int worker) {
    const auto at = static_cast<size_t>(i);
    means_of_sequence(models, reference, runs[static_cast<size_t>(worker)], sequences[at],
                      means.data() + at * models.size());
  });
  std::vector<MeanAndError> out;
  for (size_t m = 0; m < models.size(); ++m) {
    std::vector<double> own;
    for (size_t i = 0; i < sequences.size(); ++i) own.push_back(means[i * models.size() + m]);
    out.push_back(mean_and_error(own));
  }
  return out;
}

}  // namespace scute
