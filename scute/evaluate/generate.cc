#include "scute/evaluate/generate.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "scute/base/error.h"

namespace scute {
namespace {

constexpr double kNone = -std::numeric_limits<double>::infinity();

/// Of Taylor's series for |r| ≤ ln 2 / 2: the first term left out is r^14/14! < 5e-18.
constexpr std::array<double, 14> kInverseFactorials = [] {
  std::array<double, 14> out{1};
  for (size_t i = 1; i < out.size(); ++i) out[i] = out[i - 1] / static_cast<double>(i);
  return out;
}();

/// e^x for x ≤ 0 from additions and multiplications alone: std::exp differs in the last bit between
/// libraries and processors, and with it, once in a long while, a draw.
double exp_of(double x) noexcept {
  if (x < -708) return 0;  // e^x would be denormal: below 1e-307
  constexpr double kLn2High = 0x1.62e42fefa38p-1, kLn2Low = 0x1.ef35793c7673p-45;
  const double k = std::floor(x / (kLn2High + kLn2Low) + 0.5);
  const double r = (x - k * kLn2High) - k * kLn2Low;  // |r| ≤ ln 2 / 2
  double sum = 0;
  for (auto term = kInverseFactorials.rbegin(); term != kInverseFactorials.rend(); ++term) {
    sum = sum * r + *term;
  }
  return std::ldexp(sum, static_cast<int>(k));
}

/// Feeds the vectors `before`, then `ids`, to the state and gives the logits of the token after the
/// last of them.
void next_logits(const LanguageModel& model, Run& run, MatView<const float> before,
                 std::span<const int32_t> ids, State& state, std::vector<float>& logits) {
  const Arena::Scope scope(run.arena());
  const int64_t length = before.rows + std::ssize(ids);
  const auto hidden = run.matrix(std::min(kPrefillRows, length), model.config().width);
  int64_t rows = 0;
  for (int64_t t = 0; t < length; t += rows) {
    rows = std::min(kPrefillRows, length - t);
    const int64_t vectors = std::clamp<int64_t>(before.rows - t, 0, rows);
    const int64_t first = std::max<int64_t>(t - before.rows, 0);
    model.hidden(run, vectors > 0 ? before.slice_rows(t, vectors) : MatView<const float>(),
                 ids.subspan(static_cast<size_t>(first), static_cast<size_t>(rows - vectors)),
                 state, hidden.slice_rows(0, rows));
  }
  model.logits(run, hidden.slice_rows(rows - 1, 1),
               MatView<float>(logits.data(), 1, static_cast<int64_t>(logits.size())));
}

void check(const LanguageModel& model, MatView<const float> before, std::span<const int32_t> prompt,
           const GenerateOptions& options) {
  options.sampling.check();
  const int64_t vocabulary = model.config().vocabulary;
  if (prompt.empty() && before.rows == 0) fail("prompt", "at least one token", "none");
  if (options.max_tokens < 1) {
    fail("--max-tokens", "at least 1", fmt::format("{}", options.max_tokens));
  }
  if (options.limit < 0 || options.limit > vocabulary) {
    fail("limit of token ids", fmt::format("0 to the vocabulary, {}", vocabulary),
         fmt::format("{}", options.limit));
  }
}

}  // namespace

void SamplingOptions::check() const {
  const auto refuse = [](const char* name, const char* expected, auto found) {
    fail(name, expected, fmt::format("{}", found));
  };
  const auto finite = [](double x) { return std::isfinite(x); };
  if (!finite(temperature) || temperature < 0) {
    refuse("--temperature", "a number of at least 0", temperature);
  }
  if (top_k < 0) refuse("--top-k", "at least 0", top_k);
  if (!(top_p > 0 && top_p <= 1)) refuse("--top-p", "a number above 0, at most 1", top_p);
  if (!(min_p >= 0 && min_p <= 1)) refuse("--min-p", "a number from 0 to 1", min_p);
  if (!finite(repetition_penalty) || repetition_penalty <= 0) {
    refuse("--repetition-penalty", "a number above 0", repetition_penalty);
  }
}

TokenSampler::TokenSampler(const SamplingOptions& options)
    : options_(options), random_(options.seed) {
  options.check();
}

void TokenSampler::saw(std::span<const int32_t> ids) {
  if (options_.repetition_penalty != 1) seen_.insert(ids.begin(), ids.end());
}

/// A token's logit after the repetition penalty; kNone for NaN.
double TokenSampler::penalized(std::span<const float> logits, int64_t id) const {
  const double logit = static_cast<double>(logits[static_cast<size_t>(id)]);
  if (std::isnan(logit)) return kNone;
  const double penalty = options_.repetition_penalty;
  if (penalty == 1 || !seen_.contains(static_cast<int32_t>(id))) return logit;
  return logit > 0 ? logit / penalty : logit * penalty;
}

int32_t TokenSampler::next(std::span<const float> logits, int64_t limit) {
  if (limit < 1) fail("limit of token ids", "at least 1", fmt::format("{}", limit));
  const auto size = std::min<size_t>(logits.size(), static_cast<size_t>(limit));
  const auto allowed = logits.first(size);
  int32_t id = -1;
  if (options_.temperature == 0) {
    id = largest(allowed);
  } else {
    take_candidates(allowed);
    if (!candidates_.empty()) {
      keep_top_k();
      turn_into_weights();
      keep_top_p();
      keep_min_p();
      id = draw();
    }
  }
  if (id < 0) {
    fail("logits", "at least one number above −infinity",
         fmt::format("none among {}", allowed.size()));
  }
  saw({&id, 1});
  return id;
}

/// −1 when there is none.
int32_t TokenSampler::largest(std::span<const float> logits) const {
  double most = kNone;
  int32_t best = -1;
  for (size_t i = 0; i < logits.size(); ++i) {
    const double value = penalized(logits, static_cast<int64_t>(i));
    if (value <= most) continue;
    most = value;
    best = static_cast<int32_t>(i);
  }
  return best;
}

void TokenSampler::take_candidates(std::span<const float> logits) {
  candidates_.clear();
  for (size_t i = 0; i < logits.size(); ++i) {
    const double value = penalized(logits, static_cast<int64_t>(i));
    if (value > kNone) candidates_.push_back({value, static_cast<int32_t>(i)});
  }
}

void TokenSampler::keep_top_k() {
  const int64_t k = options_.top_k;
  if (k == 0 || k >= static_cast<int64_t>(candidates_.size())) return;
  std::nth_element(candidates_.begin(), candidates_.begin() + (k - 1), candidates_.end(),
                   [](const Candidate& a, const Candidate& b) {
                     return a.value != b.value ? a.value > b.value : a.id < b.id;
                   });
  candidates_.resize(static_cast<size_t>(k));
  // nth_element's order differs between libraries, and a draw must not depend on it.
  std::sort(candidates_.begin(), candidates_.end(),
            [](const Candidate& a, const Candidate& b) { return a.id < b.id; });
}

/// Relative to the largest logit, whose weight is 1 whatever its size (even +infinity).
void TokenSampler::turn_into_weights() {
  double most = kNone;
  for (const Candidate& c : candidates_) most = std::max(most, c.value);
  for (Candidate& c : candidates_) {
    c.value = c.value == most ? 1 : exp_of((c.value - most) / options_.temperature);
  }
}

void TokenSampler::keep_top_p() {
  if (options_.top_p == 1) return;
  double total = 0;
  for (const Candidate& c : candidates_) total += c.value;
  // A heap, since few of the 50,000 are usually kept and sorting them all would take longer than
  // the rest of the draw.
  const auto less_likely = [](const Candidate& a, const Candidate& b) {
    return a.value != b.value ? a.value < b.value : a.id > b.id;
  };
  std::make_heap(candidates_.begin(), candidates_.end(), less_likely);
  auto kept = candidates_.end();
  for (double sum = 0; kept != candidates_.begin() && sum < options_.top_p * total;) {
    std::pop_heap(candidates_.begin(), kept, less_likely);
    --kept;
    sum += kept->value;
  }
  candidates_.erase(candidates_.begin(), kept);
  std::sort(candidates_.begin(), candidates_.end(),
            [](const Candidate& a, const Candidate& b) { return a.id < b.id; });
}

void TokenSampler::keep_min_p() {
  std::erase_if(candidates_, [this](const Candidate& c) { return c.value < options_.min_p; });
}

int32_t TokenSampler::draw() {
  double total = 0;
  for (const Candidate& c : candidates_) total += c.value;
  double left = random_.uniform() * total;
  int32_t id = -1;
  for (const Candidate& c : candidates_) {
    if (c.value == 0) continue;
    id = c.id;  // the last one, should rounding leave a rest after it
    left -= c.value;
    if (left < 0) break;
  }
  return id;
}

Generation generate(const LanguageModel& model, std::span<const int32_t> prompt,
                    const GenerateOptions& options, const std::function<bool(int32_t)>& each) {
  return generate(model, {}, prompt, options, each);
}

Generation generate(const LanguageModel& model, MatView<const float> before,
                    std::span<const int32_t> prompt, const GenerateOptions& options,
                    const std::function<bool(int32_t)>& each) {
  check(model, before, prompt, options);
  const int64_t vocabulary = model.config().vocabulary;
  const int64_t limit = options.limit == 0 ? vocabulary : options.limit;
  Run run;
  run.use(options.team);
  State state = model.new_state();
  TokenSampler sampler(options.sampling);
  sampler.saw(prompt);
  std::vector<float> logits(static_cast<size_t>(vocabulary));

  Generation out;
  out.ids.reserve(static_cast<size_t>(std::min<int64_t>(options.max_tokens, 4096)));
  next_logits(model, run, before, prompt, state, logits);
  for (;;) {
    const int32_t id = sampler.next(logits, limit);
    if (std::ranges::find(options.stop, id) != options.stop.end()) {
      out.stopped = true;
      return out;
    }
    out.ids.push_back(id);
    if (each && !each(id)) return out;
    if (static_cast<int64_t>(out.ids.size()) == options.max_tokens) return out;
    next_logits(model, run, {}, {&id, 1}, state, logits);
  }
}

}  // namespace scute
