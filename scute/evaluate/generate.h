// Text generation: choosing the next token, and the loop around it.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <unordered_set>
#include <vector>

#include "scute/base/random.h"
#include "scute/models/language/language_model.h"

namespace scute {

/// Each option does what it says, in this order: repetition penalty, temperature, top-k, top-p,
/// min-p, each on the distribution that the one before left; then a draw. The defaults of all five
/// leave the distribution alone.
struct SamplingOptions {
  double temperature = 1;  ///< logits are divided by it; 0: the largest logit, no draw
  int64_t top_k = 0;       ///< keep the k most likely tokens; 0: all
  double top_p = 1;        ///< keep the fewest tokens whose probabilities reach p, in (0, 1]
  double min_p = 0;        ///< keep tokens with at least this share of the largest probability
  /// Above 0. Logits of tokens seen before are divided by it if positive, else multiplied.
  double repetition_penalty = 1;
  uint64_t seed = 0;
  /// Error naming the option that makes no sense.
  void check() const;
};

/// Draws tokens from logits; for the same logits and seed the same draws on every machine.
class TokenSampler {
 public:
  explicit TokenSampler(const SamplingOptions& options);
  /// Tokens that repetition_penalty counts as seen; those it draws itself are added.
  void saw(std::span<const int32_t> ids);
  /// The next token; ids at `limit` and beyond (padding of the vocabulary) are never drawn. Ties go
  /// to the smaller id. Error when every logit is NaN or −infinity, or `limit` is below 1.
  int32_t next(std::span<const float> logits, int64_t limit);

 private:
  struct Candidate {
    double value;  ///< first the logit, then the weight: probability over that of the likeliest
    int32_t id;
  };
  double penalized(std::span<const float> logits, int64_t id) const;
  int32_t largest(std::span<const float> logits) const;
  void take_candidates(std::span<const float> logits);
  void keep_top_k();
  void turn_into_weights();
  void keep_top_p();
  void keep_min_p();
  int32_t draw();

  SamplingOptions options_;
  Random random_;
  std::unordered_set<int32_t> seen_;
  std::vector<Candidate> candidates_;
};

/// How tokens are drawn, and when to stop.
struct GenerateOptions {
  SamplingOptions sampling = {};
  int64_t max_tokens = 128;        ///< at least 1
  std::vector<int32_t> stop = {};  ///< generation ends after one of these, which is not returned
  int64_t limit = 0;               ///< ids below it may be drawn; 0: the whole vocabulary
  Team team = {};                  ///< helps inside; changes no token
};

/// The tokens that were drawn, without the prompt.
struct Generation {
  std::vector<int32_t> ids;
  bool stopped = false;  ///< by a stop token rather than by max_tokens
};

/// Tokens of a prompt that go through the model at once: what a layer holds for a long prompt is
/// then bounded (2048 × 4·D floats, 25 MB at width 768). Perplexity windows are as long.
constexpr int64_t kPrefillRows = 2048;

/// Prefill with `prompt` (at least one id), then one token at a time from the state. `each` (may be
/// empty) gets every new token at once; false ends the generation. Error when options make no
/// sense, on an empty prompt and on an id outside the vocabulary.
Generation generate(const LanguageModel& model, std::span<const int32_t> prompt,
                    const GenerateOptions& options, const std::function<bool(int32_t)>& each = {});
/// The same after vectors that come before the prompt, rows × D, e.g. a picture's; one of the two
/// may be empty. Error also when the vectors are of another width than the model.
Generation generate(const LanguageModel& model, MatView<const float> before,
                    std::span<const int32_t> prompt, const GenerateOptions& options,
                    const std::function<bool(int32_t)>& each = {});

}  // namespace scute
