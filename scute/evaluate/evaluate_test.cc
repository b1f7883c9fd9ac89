#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "scute/base/error.h"
#include "scute/base/random.h"
#include "scute/evaluate/last_word.h"
#include "scute/evaluate/perplexity.h"

namespace scute::evaluate_test {
namespace {

/// One Mamba-1 layer whose mixer adds nothing: logits depend on the last token alone, so every
/// score can be worked out by hand.
LanguageModel bigram_model() {
  MambaConfig c;
  c.layers = 1;
  c.width = 8;
  c.vocabulary = 8;
  c.inner = 16;
  c.state = 2;
  c.dt_rank = 1;
  c.tied_head = false;
  Weights w;
  Tensor identity(DType::f32, {8, 8}), next(DType::f32, {8, 8});
  for (int64_t i = 0; i < 8; ++i) {
    identity.mutable_matrix<float>().row(i)[i] = 1;
    next.mutable_matrix<float>().row((i + 1) % 8)[i] = 1;  // token i is followed by i + 1
  }
  const auto ones = [](Shape shape) {
    Tensor t(DType::f32, std::move(shape));
    for (float& x : t.mutable_values<float>()) x = 1;
    return t;
  };
  const std::string mixer = "backbone.layers.0.mixer.";
  w.add("backbone.embedding.weight", identity);
  w.add("backbone.layers.0.norm.weight", ones({8}));
  w.add(mixer + "in_proj.weight", ones({32, 8}));
  w.add(mixer + "conv1d.weight", ones({16, 1, 4}));
  w.add(mixer + "conv1d.bias", ones({16}));
  w.add(mixer + "x_proj.weight", ones({5, 16}));
  w.add(mixer + "dt_proj.weight", ones({16, 1}));
  w.add(mixer + "dt_proj.bias", ones({16}));
  w.add(mixer + "A_log", ones({16, 2}));
  w.add(mixer + "D", ones({16}));
  w.add(mixer + "out_proj.weight", Tensor(DType::f32, {8, 16}));
  w.add("backbone.norm_f.weight", ones({8}));
  w.add("lm_head.weight", next);
  return {c, std::move(w), Compute::f32};
}

// norm_f of a one-hot row of width 8 is √8 at its place, up to eps: 1/√(1/8 + 1e-5).
const double kLogit = 1 / std::sqrt(0.125 + 1e-5);
const double kNormalizer = std::log(std::exp(kLogit) + 7);
const double kRight = kNormalizer - kLogit, kWrong = kNormalizer;

TEST(Perplexity, MatchesTheHandComputedBigram) {
  const LanguageModel model = bigram_model();
  const std::vector<int32_t> stream{0, 1, 2, 3, 3, 4, 0, 1, 2};
  const auto result =
      perplexity(model, stream, {.window = 4, .stride = 4, .max_windows = {}}, Threads(2));
  ASSERT_EQ(result.windows.size(), 2u);  // the ninth token is dropped
  EXPECT_EQ(result.predictions, 6);
  EXPECT_NEAR(result.windows[0].nll, 3 * kRight, 1e-5);
  EXPECT_NEAR(result.windows[1].nll, 2 * kRight + kWrong, 1e-5);  // 4 → 0 is wrong
  EXPECT_NEAR(result.mean_nll, (5 * kRight + kWrong) / 6, 1e-6);
  EXPECT_NEAR(result.perplexity, std::exp(result.mean_nll), 1e-9);
  // Two window means m ± d: the error of their mean is d.
  EXPECT_NEAR(result.standard_error, (kWrong - kRight) / 6, 1e-6);
}

TEST(Perplexity, OverlappingWindowsPredictEachTokenOnce) {
  const LanguageModel model = bigram_model();
  std::vector<int32_t> stream;
  for (int32_t i = 0; i < 21; ++i) stream.push_back(i % 8);
  const auto result =
      perplexity(model, stream, {.window = 9, .stride = 4, .max_windows = {}}, Threads(1));
  ASSERT_EQ(result.windows.size(), 4u);
  EXPECT_EQ(result.windows[0].predictions, 8);
  EXPECT_EQ(result.windows[1].predictions, 4);
  EXPECT_EQ(result.predictions, 20);
}

TEST(Perplexity, TheSameBitsForAnyNumberOfThreads) {
  const LanguageModel model = bigram_model();
  std::vector<int32_t> stream;
  Random random(3);
  for (int i = 0; i < 500; ++i) stream.push_back(static_cast<int32_t>(random.below(8)));
  const PerplexityOptions options{.window = 16, .stride = 16, .max_windows = {}};
  const auto one = perplexity(model, stream, options, Threads(1));
  for (const int threads : {2, 5}) {
    const auto other = perplexity(model, stream, options, Threads(threads));
    EXPECT_EQ(one.mean_nll, other.mean_nll);
    EXPECT_EQ(one.standard_error, other.standard_error);
  }
}

TEST(Perplexity, RefusesWhatCannotBeScored) {
  const LanguageModel model = bigram_model();
  const std::vector<int32_t> stream{1, 2, 3};
  const auto with = [&](int64_t window, int64_t stride) {
    return perplexity(model, stream, {.window = window, .stride = stride, .max_windows = {}},
                      Threads(1));
  };
  EXPECT_THROW(with(4, 4), Error);
  EXPECT_THROW(with(1, 1), Error);
  EXPECT_THROW(with(3, 0), Error);
  EXPECT_THROW(with(3, 4), Error);
  EXPECT_NO_THROW(with(3, 3));
}

TEST(LastWord, NeedsEveryTargetTokenToBeTheArgmax) {
  const LanguageModel model = bigram_model();
  const std::vector<LastWordItem> items{
      {{1, 2, 3, 4}, 2},  // both follow
      {{1, 2, 3, 5}, 2},  // the second does not
      {{7, 0}, 1},
  };
  const auto result = last_word(model, items, Threads(2));
  EXPECT_EQ(result.hits, 2);
  EXPECT_NEAR(result.accuracy, 2.0 / 3, 1e-12);
  // √(p(1 − p)/(n − 1)) for n = 3.
  EXPECT_NEAR(result.accuracy_error, std::sqrt(2.0 / 9 / 2), 1e-12);
  EXPECT_NEAR(result.items[0].nll, 2 * kRight, 1e-5);
  EXPECT_NEAR(result.items[1].nll, kRight + kWrong, 1e-5);
  EXPECT_NEAR(result.perplexity, std::exp((4 * kRight + kWrong) / 3), 1e-4);
}

TEST(LastWord, CutsLongContextsOnTheLeft) {
  const LanguageModel model = bigram_model();
  const std::vector<LastWordItem> items{{{5, 5, 5, 1, 2, 3}, 1}};
  EXPECT_NEAR(last_word(model, items, Threads(1), 2).items[0].nll, kRight, 1e-5);
  EXPECT_THROW(last_word(model, std::vector<LastWordItem>{{{1}, 1}}, Threads(1)), Error);
  EXPECT_THROW(last_word(model, std::vector<LastWordItem>{{{1, 2}, 0}}, Threads(1)), Error);
  EXPECT_THROW(last_word(model, {}, Threads(1)), Error);
}

}  // namespace
}  // namespace scute::evaluate_test
