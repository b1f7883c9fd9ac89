#include "scute/evaluate/generate.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <set>

#include "scute/base/error.h"

namespace scute::generate_test {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

std::vector<float> logs(const std::vector<double>& probabilities) {
  std::vector<float> out;
  for (const double p : probabilities) out.push_back(static_cast<float>(std::log(p)));
  return out;
}

/// Ids that 2000 draws show: one of probability 5 % stays away from them with 0.95^2000 = 3e-45.
std::set<int32_t> drawn(const std::vector<float>& logits, const SamplingOptions& options,
                        int64_t limit = 100) {
  TokenSampler sampler(options);
  std::set<int32_t> out;
  for (int i = 0; i < 2000; ++i) out.insert(sampler.next(logits, limit));
  return out;
}

std::vector<int32_t> sequence(const std::vector<float>& logits, const SamplingOptions& options,
                              int count = 50) {
  TokenSampler sampler(options);
  std::vector<int32_t> out;
  for (int i = 0; i < count; ++i) out.push_back(sampler.next(logits, 100));
  return out;
}

std::string refusal(const SamplingOptions& options) {
  try {
    options.check();
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

TEST(TokenSampler, TemperatureZeroIsTheFirstOfTheLargest) {
  EXPECT_THAT(drawn({1, 3, -2, 3}, {.temperature = 0}), ElementsAre(1));
  EXPECT_THAT(drawn({kNan, -3, kNan, -2}, {.temperature = 0}), ElementsAre(3));
  EXPECT_THAT(drawn({1, 2, 3}, {.temperature = 0}, 2), ElementsAre(1));
}

TEST(TokenSampler, DrawsFollowTheDistribution) {
  const std::vector<double> p{0.3, 0.01, 0.2, 0.04, 0.25, 0.1, 0.02, 0.08};
  constexpr int kDraws = 100'000;
  TokenSampler sampler({.seed = 5});
  const auto logits = logs(p);
  std::vector<int> counts(p.size());
  for (int i = 0; i < kDraws; ++i) ++counts[static_cast<size_t>(sampler.next(logits, 8))];
  double chi_square = 0;
  for (size_t i = 0; i < p.size(); ++i) {
    const double expected = p[i] * kDraws;
    chi_square += (counts[i] - expected) * (counts[i] - expected) / expected;
  }
  // Seven degrees of freedom: above 40 once in 800,000 seeds. Leaving out the token of 1 % alone
  // would make it 1000.
  EXPECT_LT(chi_square, 40);
}

TEST(TokenSampler, TemperatureSharpensAndFlattens) {
  const auto share_of_first = [](double temperature) {
    const auto ids = sequence(logs({0.8, 0.2}), {.temperature = temperature, .seed = 1}, 10'000);
    return static_cast<double>(std::count(ids.begin(), ids.end(), 0)) / 10'000;
  };
  // p^(1/T): 16 : 1 at 0.5 and 2 : 1 at 2. Five standard deviations of a share are 0.025 at most.
  EXPECT_NEAR(share_of_first(0.5), 16.0 / 17, 0.025);
  EXPECT_NEAR(share_of_first(2), 2.0 / 3, 0.025);
  EXPECT_EQ(share_of_first(1e-300), 1);
}

TEST(TokenSampler, TopKKeepsExactlyKAndOfEqualsTheFirst) {
  EXPECT_THAT(drawn(logs({0.1, 0.4, 0.2, 0.3}), {.top_k = 2}), ElementsAre(1, 3));
  EXPECT_THAT(drawn({0, 0, 0, 0, 0}, {.top_k = 3}), ElementsAre(0, 1, 2));
  EXPECT_THAT(drawn(logs({0.1, 0.4, 0.2, 0.3}), {.top_k = 9}), ElementsAre(0, 1, 2, 3));
  EXPECT_THAT(drawn(logs({0.1, 0.4, 0.2, 0.3}), {.top_k = 1}), ElementsAre(1));
}

TEST(TokenSampler, TopPKeepsTheFewestThatReachIt) {
  const auto logits = logs({0.1, 0.5, 0.15, 0.25});
  EXPECT_THAT(drawn(logits, {.top_p = 0.45}), ElementsAre(1));
  EXPECT_THAT(drawn(logits, {.top_p = 0.55}), ElementsAre(1, 3));  // 0.75: the crossing one is kept
  EXPECT_THAT(drawn(logits, {.top_p = 0.8}), ElementsAre(1, 2, 3));
  EXPECT_THAT(drawn(logits, {.top_p = 0.95}), ElementsAre(0, 1, 2, 3));
  EXPECT_THAT(drawn(logits, {.top_p = 1e-9}), ElementsAre(1));
  EXPECT_THAT(drawn({1, 1, 1, 1}, {.top_p = 0.4}), ElementsAre(0, 1));
}

TEST(TokenSampler, MinPIsRelativeToTheLargestProbability) {
  // The first token is no yardstick: against its 0.05 everything would be kept.
  const auto logits = logs({0.05, 0.6, 0.3, 0.05});
  EXPECT_THAT(drawn(logits, {.min_p = 0.4}), ElementsAre(1, 2));
  EXPECT_THAT(drawn(logits, {.min_p = 0.6}), ElementsAre(1));
  EXPECT_THAT(drawn(logits, {.min_p = 0.01}), ElementsAre(0, 1, 2, 3));
}

TEST(TokenSampler, EachFilterSeesWhatTheOneBeforeLeft) {
  const auto logits = logs({0.4, 0.3, 0.2, 0.1});
  // Of the two left the first has 4/7 of the probability, which alone reaches a half.
  EXPECT_THAT(drawn(logits, {.top_k = 2, .top_p = 0.5}), ElementsAre(0));
  // At temperature 1/2 the probabilities are 16 : 9 : 4 : 1.
  EXPECT_THAT(drawn(logits, {.temperature = 0.5, .min_p = 0.5}), ElementsAre(0, 1));
  EXPECT_THAT(drawn(logits, {.top_k = 3, .top_p = 0.99, .min_p = 0.6}), ElementsAre(0, 1));
}

TEST(TokenSampler, RepetitionPenaltyLowersPositiveAndNegativeLogits) {
  const auto greedy_after = [](std::vector<float> logits, std::vector<int32_t> seen) {
    TokenSampler sampler({.temperature = 0, .repetition_penalty = 2});
    sampler.saw(seen);
    return sampler.next(logits, 100);
  };
  EXPECT_EQ(greedy_after({2, 1.5}, {}), 0);
  EXPECT_EQ(greedy_after({2, 1.5}, {0}), 1);    // 2 / 2
  EXPECT_EQ(greedy_after({-1, -1.5}, {0}), 1);  // -1 * 2
  EXPECT_EQ(greedy_after({2, 0.5}, {0}), 0);
  EXPECT_EQ(greedy_after({2, 1.5}, {0, 1, 99}), 0);
  // What was drawn is seen: 4 becomes 2, then 3 becomes 1.5, and 2 is the largest again.
  EXPECT_THAT(sequence({4, 3, 1.9f}, {.temperature = 0, .repetition_penalty = 2}, 3),
              ElementsAre(0, 1, 0));
}

TEST(TokenSampler, TheSameSeedGivesTheSameDraws) {
  const auto logits = logs({0.1, 0.2, 0.3, 0.4});
  const auto ids = sequence(logits, {.seed = 3});
  EXPECT_EQ(sequence(logits, {.seed = 3}), ids);
  EXPECT_NE(sequence(logits, {.seed = 4}), ids);
  // Filters that keep everything change nothing.
  EXPECT_EQ(sequence(logits, {.top_k = 4, .top_p = 1 - 1e-9, .min_p = 1e-9, .seed = 3}), ids);
}

TEST(TokenSampler, NeverDrawsBeyondTheLimitOrWhatIsNoNumber) {
  EXPECT_THAT(drawn({0, kNan, 0, -kInfinity, 0, 50}, {}, 5), ElementsAre(0, 2, 4));
  EXPECT_THAT(drawn({0, kInfinity, 9}, {}), ElementsAre(1));
  for (const double temperature : {0.0, 1.0}) {
    TokenSampler sampler({.temperature = temperature});
    EXPECT_THROW(sampler.next(std::vector<float>{kNan, -kInfinity}, 2), Error);
    EXPECT_THROW(sampler.next({}, 2), Error);
    EXPECT_THROW(sampler.next(std::vector<float>{1}, 0), Error);
  }
}

TEST(TokenSampler, OptionsThatMakeNoSenseAreNamed) {
  EXPECT_EQ(refusal({}), "");
  for (const double bad : {-1.0, std::nan(""), HUGE_VAL}) {
    EXPECT_THAT(refusal({.temperature = bad}), HasSubstr("--temperature"));
    EXPECT_THAT(refusal({.top_p = bad}), HasSubstr("--top-p"));
    EXPECT_THAT(refusal({.min_p = bad}), HasSubstr("--min-p"));
    EXPECT_THAT(refusal({.repetition_penalty = bad}), HasSubstr("--repetition-penalty"));
  }
  EXPECT_THAT(refusal({.top_k = -1}), HasSubstr("--top-k"));
  EXPECT_THAT(refusal({.top_p = 0}), HasSubstr("--top-p"));
  EXPECT_THAT(refusal({.repetition_penalty = 0}), HasSubstr("--repetition-penalty"));
  EXPECT_THROW(TokenSampler({.top_p = 2}), Error);
}

/// Two Mamba-1 layers of random weights: what comes next depends on all that came before.
LanguageModel random_model() {
  MambaConfig c;
  c.layers = 2;
  c.width = 16;
  c.vocabulary = 24;
  c.inner = 32;
  c.state = 4;
  c.dt_rank = 2;
  Random random(11);
  Weights w;
  const auto add = [&](const std::string& name, Shape shape, double deviation, double mean) {
    Tensor t(DType::f32, std::move(shape));
    for (float& x : t.mutable_values<float>()) {
      x = static_cast<float>(mean + deviation * random.normal());
    }
    w.add(name, std::move(t));
  };
  add("backbone.embedding.weight", {24, 16}, 1, 0);
  for (const std::string layer : {"backbone.layers.0.", "backbone.layers.1."}) {
    add(layer + "norm.weight", {16}, 0, 1);
    add(layer + "mixer.in_proj.weight", {64, 16}, 0.5, 0);
    add(layer + "mixer.conv1d.weight", {32, 1, 4}, 0.5, 0);
    add(layer + "mixer.conv1d.bias", {32}, 0.5, 0);
    add(layer + "mixer.x_proj.weight", {10, 32}, 0.5, 0);
    add(layer + "mixer.dt_proj.weight", {32, 2}, 0.5, 0);
    add(layer + "mixer.dt_proj.bias", {32}, 0, -2);
    add(layer + "mixer.A_log", {32, 4}, 0.5, 0);
    add(layer + "mixer.D", {32}, 0, 1);
    add(layer + "mixer.out_proj.weight", {16, 32}, 0.5, 0);
  }
  add("backbone.norm_f.weight", {16}, 0, 1);
  return {c, std::move(w), Compute::f32};
}

/// Logits of the token after `ids`, by one pass over all of them.
std::vector<float> recomputed_logits(const LanguageModel& model, const std::vector<int32_t>& ids) {
  Run run;
  const auto length = static_cast<int64_t>(ids.size());
  const auto hidden = run.matrix(length, model.config().width);
  const auto logits = run.matrix(1, model.config().vocabulary);
  State state = model.new_state();
  model.hidden(run, ids, state, hidden);
  model.logits(run, hidden.slice_rows(length - 1, 1), logits);
  return {logits.row(0), logits.row(0) + logits.cols};
}

const std::vector<int32_t> kPrompt{3, 1, 4, 1, 5};

TEST(Generate, GreedyEqualsFullRecomputation) {
  const LanguageModel model = random_model();
  const auto generation =
      generate(model, kPrompt, {.sampling = {.temperature = 0}, .max_tokens = 40});
  ASSERT_EQ(generation.ids.size(), 40u);
  EXPECT_FALSE(generation.stopped);
  std::vector<int32_t> all = kPrompt;
  for (const int32_t id : generation.ids) {
    const auto logits = recomputed_logits(model, all);
    // A step and a pass over the whole sequence may add in another order; 1e-4 is 100 times the
    // spacing of floats at logits of this size (below 16) and leaves no other token a chance.
    const float most = *std::max_element(logits.begin(), logits.end());
    EXPECT_GE(logits[static_cast<size_t>(id)], most - 1e-4f) << all.size();
    all.push_back(id);
  }
  EXPECT_GT(std::set<int32_t>(generation.ids.begin(), generation.ids.end()).size(), 3u);
}

TEST(Generate, APromptLongerThanOnePrefillPassContinuesTheSameState) {
  const LanguageModel model = random_model();
  Random random(7);
  std::vector<int32_t> prompt(4100);
  for (int32_t& id : prompt) id = static_cast<int32_t>(random.below(24));
  const auto logits = recomputed_logits(model, prompt);
  const auto first = generate(model, prompt, {.sampling = {.temperature = 0}, .max_tokens = 1});
  EXPECT_EQ(first.ids[0], std::max_element(logits.begin(), logits.end()) - logits.begin());
}

/// Keeps the vectors of the tokens that a model reads.
class Vectors : public Tap {
 public:
  bool wants(const Site& site) const override { return site.name == "embedding:output"; }
  void see(const Site&, MatView<const float> x) override {
    for (int64_t r = 0; r < x.rows; ++r) values.insert(values.end(), x.row(r), x.row(r) + x.cols);
  }
  std::vector<float> values;
};

TEST(Generate, VectorsBeforeThePromptAreReadLikeTokens) {
  // The same tokens, some of them given as vectors: of one pass, and of more than one.
  const LanguageModel model = random_model();
  const GenerateOptions options{.sampling = {.temperature = 0}, .max_tokens = 5};
  for (const auto& [length, before] : {std::pair{5, 2}, {5, 5}, {4100, 3000}, {2100, 2048}}) {
    Random random(7);
    std::vector<int32_t> ids(static_cast<size_t>(length));
    for (int32_t& id : ids) id = static_cast<int32_t>(random.below(24));
    Vectors vectors;
    scute::Run run(&vectors);
    forward(model, run, ids);
    const MatView<const float> first(vectors.values.data(), before, model.config().width);
    const auto rest = std::span(ids).subspan(static_cast<size_t>(before));
    EXPECT_EQ(generate(model, first, rest, options).ids, generate(model, ids, options).ids)
        << before << " of " << length;
  }
  // Another picture, another answer.
  const std::vector<float> noise(2 * 16, 3.0F);
  const std::vector<int32_t> one{3};
  EXPECT_NE(generate(model, {noise.data(), 2, 16}, one, options).ids,
            generate(model, one, options).ids);
  EXPECT_THROW(generate(model, {noise.data(), 2, 15}, kPrompt, options), Error);
  EXPECT_THROW(generate(model, {noise.data(), 0, 16}, {}, options), Error);
}

TEST(Generate, AStopTokenEndsItAndIsNotReturned) {
  const LanguageModel model = random_model();
  GenerateOptions options{.sampling = {.seed = 2}, .max_tokens = 30};
  const auto all = generate(model, kPrompt, options).ids;
  ASSERT_EQ(all.size(), 30u);
  options.stop = {all[10], 1000};
  const auto first = std::find(all.begin(), all.end(), all[10]);
  std::vector<int32_t> streamed;
  const auto stopped = generate(model, kPrompt, options, [&](int32_t id) {
    streamed.push_back(id);
    return true;
  });
  EXPECT_TRUE(stopped.stopped);
  EXPECT_EQ(stopped.ids, std::vector<int32_t>(all.begin(), first));
  EXPECT_EQ(streamed, stopped.ids);
}

TEST(Generate, TheCallerCanEndIt) {
  const LanguageModel model = random_model();
  int calls = 0;
  const auto ended = generate(model, kPrompt, {}, [&](int32_t) { return ++calls < 3; });
  EXPECT_EQ(ended.ids.size(), 3u);
  EXPECT_FALSE(ended.stopped);
}

TEST(Generate, NothingAtTheLimitOrBeyondIsDrawn) {
  const LanguageModel model = random_model();
  const auto ids = generate(model, kPrompt, {.max_tokens = 200, .limit = 4}).ids;
  EXPECT_EQ(*std::max_element(ids.begin(), ids.end()), 3);
}

TEST(Generate, ThePromptCountsAsSeen) {
  const LanguageModel model = random_model();
  GenerateOptions options{.sampling = {.temperature = 0}, .max_tokens = 1};
  const int32_t likeliest = generate(model, kPrompt, options).ids[0];
  ASSERT_THAT(kPrompt, testing::Not(testing::Contains(likeliest)));
  // A penalty far below 1 favours what was seen: a positive logit times a million, or the negative
  // one nearest to zero.
  options.sampling.repetition_penalty = 1e-6;
  EXPECT_THAT(kPrompt, testing::Contains(generate(model, kPrompt, options).ids[0]));
}

TEST(Generate, RequestsThatMakeNoSenseAreErrors) {
  const LanguageModel model = random_model();
  const auto with = [](const auto& change) {
    GenerateOptions options;
    change(options);
    return options;
  };
  EXPECT_THROW(generate(model, {}, {}), Error);
  EXPECT_THROW(generate(model, std::vector<int32_t>{24}, {}), Error);
  EXPECT_THROW(generate(model, kPrompt, with([](auto& o) { o.max_tokens = 0; })), Error);
  EXPECT_THROW(generate(model, kPrompt, with([](auto& o) { o.limit = 25; })), Error);
  EXPECT_THROW(generate(model, kPrompt, with([](auto& o) { o.limit = -1; })), Error);
  EXPECT_THROW(generate(model, kPrompt, with([](auto& o) { o.sampling.top_p = 0; })), Error);
}

}  // namespace
}  // namespace scute::generate_test
