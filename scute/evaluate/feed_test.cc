// Context that is read but not scored, and tokens fed one by one.
#include <gtest/gtest.h>

#include <cmath>

#include "scute/base/error.h"
#include "scute/base/random.h"
#include "scute/evaluate/perplexity.h"

namespace scute::feed_test {
namespace {

Tensor random_tensor(Random& random, Shape shape, double scale, double offset = 0) {
  Tensor out(DType::f32, std::move(shape));
  for (float& x : out.mutable_values<float>()) {
    x = static_cast<float>(offset + scale * random.normal());
  }
  return out;
}

Tensor scalar(float value) { return Tensor::of<float>({1}, std::span(&value, 1)); }

/// One Mamba-1 layer of width 8; `eight_bit_state`: with a grid for every site and the state.
LanguageModel small_model(bool eight_bit_state) {
  MambaConfig c;
  c.layers = 1;
  c.width = 8;
  c.vocabulary = 12;
  c.inner = 16;
  c.state = 4;
  c.dt_rank = 2;
  Random random(1);
  Weights w;
  const std::string mixer = "backbone.layers.0.mixer.";
  const auto add = [&](const std::string& name, Shape shape, double scale, double offset = 0) {
    w.add(name, random_tensor(random, std::move(shape), scale, offset));
  };
  add("backbone.embedding.weight", {12, 8}, 1);
  add("backbone.layers.0.norm.weight", {8}, 0.1, 1);
  add(mixer + "in_proj.weight", {32, 8}, 0.5);
  add(mixer + "conv1d.weight", {16, 1, 4}, 0.5);
  add(mixer + "conv1d.bias", {16}, 0.2);
  add(mixer + "dt_proj.weight", {16, 2}, 0.5);
  add(mixer + "dt_proj.bias", {16}, 0.2, -1);
  add(mixer + "A_log", {16, 4}, 0.3);
  add(mixer + "D", {16}, 0.1, 1);
  add(mixer + "out_proj.weight", {8, 16}, 0.5);
  add("backbone.norm_f.weight", {8}, 0.1, 1);
  if (!eight_bit_state) {
    add(mixer + "x_proj.weight", {10, 16}, 0.5);
    return {c, std::move(w), Compute::f32};
  }
  Tensor codes(DType::i8, {10, 16}), scales(DType::f32, {10, 1});
  for (int8_t& code : codes.mutable_values<int8_t>()) {
    code = static_cast<int8_t>(static_cast<int>(random.below(255)) - 127);
  }
  for (float& scale : scales.mutable_values<float>()) scale = 0.01f;
  w.add(mixer + "x_proj.weight", codes);
  w.add(mixer + "x_proj.weight_scale", scales);
  w.add(mixer + "x_proj.input_scale", scalar(0.02f));
  w.add(mixer + "conv1d.input_scale", scalar(0.03f));
  w.add(mixer + "conv1d.output_scale", scalar(0.02f));
  w.add(mixer + "selective_scan.u_scale", scalar(0.02f));
  for (const char* name : {"dt", "B", "C", "z"}) {
    w.add(mixer + "selective_scan." + name + "_scale", scalar(0.03f));
  }
  w.add(mixer + "selective_scan.ssm_state_scale", scalar(0.02f));
  return {c, std::move(w), Compute::f32};
}

std::vector<int32_t> some_ids(size_t count) {
  std::vector<int32_t> out(count);
  Random random(3);
  for (int32_t& id : out) id = static_cast<int32_t>(random.below(12));
  return out;
}

TEST(Feed, OneByOneGivesTheBitsOfTheWholeWithAFloatState) {
  const LanguageModel model = small_model(false);
  const auto ids = some_ids(96);
  PerplexityOptions options{.window = 24, .stride = 24};
  const auto whole = perplexity(model, ids, options, Threads(2));
  options.feed = Feed::one_by_one;
  const auto single = perplexity(model, ids, options, Threads(2));
  EXPECT_EQ(whole.mean_nll, single.mean_nll);
  EXPECT_EQ(whole.standard_error, single.standard_error);
}

TEST(Feed, OneByOneRoundsAnEightBitStateAtEveryToken) {
  const LanguageModel model = small_model(true);
  const auto ids = some_ids(24);
  scute::Run run;
  const auto whole = score_continuation(model, run, ids, 0, Feed::whole);
  const auto single = score_continuation(model, run, ids, 0, Feed::one_by_one);
  ASSERT_EQ(whole.nll.size(), single.nll.size());
  // A sequence read at once is rounded behind its last token only; the first token's prediction
  // comes before any rounding in both.
  EXPECT_EQ(whole.nll[0], single.nll[0]);
  EXPECT_NE(whole.nll.back(), single.nll.back());
  // Another sequence number: other rounding.
  EXPECT_NE(score_continuation(model, run, ids, 0, Feed::one_by_one, 1).nll, single.nll);
  EXPECT_EQ(score_continuation(model, run, ids, 0, Feed::whole, 1).nll, whole.nll);
}

TEST(Feed, ContextIsReadButNotScored) {
  const LanguageModel model = small_model(false);
  const auto ids = some_ids(48);
  const auto all = perplexity(model, ids, {.window = 24, .stride = 24}, Threads(1));
  const auto behind =
      perplexity(model, ids, {.window = 24, .stride = 24, .context = 20}, Threads(1));
  ASSERT_EQ(behind.windows.size(), 2u);
  EXPECT_EQ(behind.windows[0].predictions, 4);
  EXPECT_EQ(behind.predictions, 8);
  scute::Run run;
  double last_four = 0;
  const auto scored = score_continuation(model, run, std::span(ids).first(24), 0);
  for (size_t t = 19; t < 23; ++t) last_four += scored.nll[t];
  EXPECT_NEAR(behind.windows[0].nll, last_four, 1e-12);
  EXPECT_LT(behind.windows[0].nll, all.windows[0].nll);
}

TEST(Feed, ContextAndOverlapTakeTheLongerOfBoth) {
  const LanguageModel model = small_model(false);
  const auto ids = some_ids(40);
  const auto predictions = [&](int64_t context) {
    std::vector<int64_t> out;
    const PerplexityOptions options{.window = 16, .stride = 8, .context = context};
    for (const WindowScore& w : perplexity(model, ids, options, Threads(1)).windows) {
      out.push_back(w.predictions);
    }
    return out;
  };
  EXPECT_EQ(predictions(1), (std::vector<int64_t>{15, 8, 8, 8}));
  EXPECT_EQ(predictions(4), (std::vector<int64_t>{12, 8, 8, 8}));
  EXPECT_EQ(predictions(12), (std::vector<int64_t>{4, 4, 4, 4}));
}

TEST(Feed, RefusesAContextThatLeavesNothing) {
  const LanguageModel model = small_model(false);
  const auto ids = some_ids(40);
  for (const int64_t context : {0, -1, 16, 17}) {
    EXPECT_THROW(
        perplexity(model, ids, {.window = 16, .stride = 16, .context = context}, Threads(1)),
        Error);
  }
}

}  // namespace
}  // namespace scute::feed_test
