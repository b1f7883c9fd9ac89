#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <map>

#include "scute/base/error.h"
#include "scute/base/random.h"
#include "scute/models/language/language_model.h"

namespace scute::models_test {
namespace {

using testing::AllOf;
using testing::HasSubstr;

MambaConfig small(MixerKind mixer) {
  MambaConfig c;
  c.mixer = mixer;
  c.layers = 2;
  c.width = 24;
  c.vocabulary = 20;
  c.inner = 48;
  c.state = 6;
  c.taps = 3;
  c.dt_rank = 2;
  c.heads = 6;
  c.head_width = 8;
  c.groups = 2;
  return c;
}

/// Random weights of the right shapes: small matrices, positive norms.
Weights random_tensors(const MambaConfig& c) {
  Weights weights("model.safetensors");
  Random random(5);
  const auto add = [&](const std::string& name, Shape shape, double scale, double offset = 0) {
    Tensor t(DType::f32, std::move(shape));
    for (float& x : t.mutable_values<float>()) {
      x = static_cast<float>(offset + scale * random.normal());
    }
    weights.add(name, std::move(t));
  };
  add("backbone.embedding.weight", {c.vocabulary, c.width}, 1);
  for (int64_t i = 0; i < c.layers; ++i) {
    const std::string layer = fmt::format("backbone.layers.{}.", i), mixer = layer + "mixer.";
    add(layer + "norm.weight", {c.width}, 0.1, 1);
    add(mixer + "in_proj.weight", {c.projected(), c.width}, 0.2);
    add(mixer + "conv1d.weight", {c.conv_channels(), 1, c.taps}, 0.4);
    add(mixer + "conv1d.bias", {c.conv_channels()}, 0.1);
    add(mixer + "out_proj.weight", {c.width, c.inner}, 0.2);
    if (c.mixer == MixerKind::mamba1) {
      add(mixer + "x_proj.weight", {c.dt_rank + 2 * c.state, c.inner}, 0.2);
      add(mixer + "dt_proj.weight", {c.inner, c.dt_rank}, 0.2);
      add(mixer + "dt_proj.bias", {c.inner}, 0.2, -2);
      add(mixer + "A_log", {c.inner, c.state}, 0.3);
      add(mixer + "D", {c.inner}, 0.1, 1);
    } else {
      add(mixer + "dt_bias", {c.heads}, 0.2, -2);
      add(mixer + "A_log", {c.heads}, 0.3);
      add(mixer + "D", {c.heads}, 0.1, 1);
      add(mixer + "norm.weight", {c.inner}, 0.1, 1);
    }
  }
  add("backbone.norm_f.weight", {c.width}, 0.1, 1);
  return weights;
}

LanguageModel small_model(MixerKind mixer) {
  return {small(mixer), random_tensors(small(mixer)), Compute::f32};
}

std::vector<int32_t> some_ids(int64_t n) {
  std::vector<int32_t> ids;
  Random random(9);
  for (int64_t i = 0; i < n; ++i) ids.push_back(static_cast<int32_t>(random.below(20)));
  return ids;
}

class Models : public testing::TestWithParam<MixerKind> {};
INSTANTIATE_TEST_SUITE_P(Both, Models, testing::Values(MixerKind::mamba1, MixerKind::mamba2));

TEST_P(Models, PiecesOfASequenceGiveTheBitsOfTheWhole) {
  const LanguageModel model = small_model(GetParam());
  const auto ids = some_ids(23);
  Tensor whole(DType::f32, {23, 24}), pieces(DType::f32, {23, 24});
  scute::Run run;
  State state = model.new_state();
  model.hidden(run, ids, state, whole.mutable_matrix<float>());
  State again = model.new_state();
  int64_t t = 0;
  for (const int64_t count : {1, 1, 2, 7, 12}) {
    model.hidden(run, std::span(ids).subspan(static_cast<size_t>(t), static_cast<size_t>(count)),
                 again, pieces.mutable_matrix<float>().slice_rows(t, count));
    t += count;
  }
  EXPECT_EQ(again.place.position, 23);
  // A row's bits depend on its own inputs alone (gemm.h), and the scan is sequential.
  EXPECT_TRUE(std::ranges::equal(whole.bytes(), pieces.bytes()));
}

/// Notes the shape of what each site shows.
class ShapeTap : public Tap {
 public:
  bool wants(const Site& site) const override { return site.index >= 0; }
  void see(const Site& site, MatView<const float> x) override {
    seen[site.name].push_back({x.rows, x.cols});
  }
  std::map<std::string, std::vector<std::pair<int64_t, int64_t>>> seen;
};

TEST_P(Models, EverySiteShowsItsShape) {
  const LanguageModel model = small_model(GetParam());
  ShapeTap tap;
  scute::Run run(&tap, 5);
  State state = model.new_state();
  Tensor hidden(DType::f32, {12, 24}), logits(DType::f32, {12, 20});
  model.hidden(run, some_ids(12), state, hidden.mutable_matrix<float>());
  model.logits(run, hidden.matrix<float>(), logits.mutable_matrix<float>());
  EXPECT_EQ(tap.seen.size(), model.sites().sites().size());
  for (const Site& site : model.sites().sites()) {
    SCOPED_TRACE(site.name);
    const auto& shapes = tap.seen[site.name];
    ASSERT_EQ(shapes.size(), site.extent == Site::Extent::per_step ? 2u : 1u);
    EXPECT_EQ(shapes[0].second, site.shape.back());
    if (site.extent == Site::Extent::per_token) {
      EXPECT_EQ(shapes[0].first, 12);
    } else {
      EXPECT_EQ(shapes[0].first * shapes[0].second, element_count(site.shape, "site"));
    }
  }
}

/// Keeps what one site showed.
class OneSite : public Tap {
 public:
  explicit OneSite(std::string name) : name_(std::move(name)) {}
  bool wants(const Site& site) const override { return site.name == name_; }
  void see(const Site&, MatView<const float> x) override {
    for (int64_t r = 0; r < x.rows; ++r) values.insert(values.end(), x.row(r), x.row(r) + x.cols);
  }
  std::vector<float> values;

 private:
  std::string name_;
};

TEST_P(Models, StepsShowTheStateAfterEveryKthTokenOfTheSequence) {
  const LanguageModel model = small_model(GetParam());
  const auto ids = some_ids(12);
  Tensor hidden(DType::f32, {12, 24});
  OneSite steps("layer_1.ssm_state_act:steps");
  scute::Run run(&steps, 4);
  State state = model.new_state();
  model.hidden(run, ids, state, hidden.mutable_matrix<float>());
  std::vector<float> expected;
  for (const size_t length : {4u, 8u, 12u}) {
    OneSite last("layer_1.ssm_state_act:input");
    scute::Run other(&last);
    State fresh = model.new_state();
    model.hidden(other, std::span(ids).first(length), fresh,
                 hidden.mutable_matrix<float>().slice_rows(0, static_cast<int64_t>(length)));
    expected.insert(expected.end(), last.values.begin(), last.values.end());
  }
  EXPECT_EQ(steps.values, expected);
}

TEST_P(Models, RotationKeepsTheLengthOfTheUnweightedNorm) {
  const LanguageModel model = small_model(GetParam());
  OneSite rotated("layer_0.in_proj:input@rotated");
  scute::Run run(&rotated);
  State state = model.new_state();
  Tensor hidden(DType::f32, {3, 24});
  model.hidden(run, some_ids(3), state, hidden.mutable_matrix<float>());
  ASSERT_EQ(rotated.values.size(), 72u);
  for (size_t row = 0; row < 3; ++row) {
    double squares = 0;
    for (size_t i = 0; i < 24; ++i) squares += std::pow(rotated.values[row * 24 + i], 2);
    // RMSNorm without weight gives mean square 1 − eps/mean(x²); the transform is orthonormal.
    EXPECT_NEAR(squares / 24, 1, 1e-4);
  }
}

TEST_P(Models, NamesEveryTensorThatIsMissingOrTooMuch) {
  const MambaConfig config = small(GetParam());
  Weights weights = random_tensors(config);
  weights.erase("backbone.layers.1.mixer.D");
  weights.add("lm_head.bias", Tensor(DType::f32, {20}));
  try {
    const LanguageModel model(config, std::move(weights), Compute::f32);
    FAIL();
  } catch (const Error& error) {
    EXPECT_THAT(error.what(),
                AllOf(HasSubstr("missing backbone.layers.1.mixer.D"),
                      HasSubstr("unknown tensor lm_head.bias"), HasSubstr("2 problems")));
  }
}

TEST_P(Models, RefusesIdsOutsideTheVocabulary) {
  const LanguageModel model = small_model(GetParam());
  scute::Run run;
  State state = model.new_state();
  Tensor hidden(DType::f32, {1, 24});
  for (const int32_t id : {-1, 20}) {
    EXPECT_THROW(model.hidden(run, std::vector{id}, state, hidden.mutable_matrix<float>()), Error);
  }
}

/// Everything that passes the sites, one after the other.
class EveryValue : public Tap {
 public:
  bool wants(const Site&) const override { return true; }
  void see(const Site&, MatView<const float> x) override {
    for (int64_t r = 0; r < x.rows; ++r) values.insert(values.end(), x.row(r), x.row(r) + x.cols);
  }
  std::vector<float> values;
};

std::vector<float> every_value(const LanguageModel& model, const Team& team) {
  EveryValue tap;
  scute::Run run(&tap, 50);
  run.use(team);
  State state = model.new_state();
  const auto hidden = run.matrix(130, model.config().width);
  const auto logits = run.matrix(130, model.config().vocabulary);
  std::vector<int32_t> ids(130);
  for (size_t t = 0; t < ids.size(); ++t) ids[t] = static_cast<int32_t>(t * 7 % 20);
  // A prompt long enough to be split at every step, then a token.
  model.hidden(run, std::span(ids).first(129), state, hidden.slice_rows(0, 129));
  model.hidden(run, std::span(ids).last(1), state, hidden.slice_rows(129, 1));
  model.logits(run, hidden, logits);
  return tap.values;
}

TEST(LanguageModel, ThreadsInsideASequenceChangeNoBit) {
  for (const MixerKind mixer : {MixerKind::mamba1, MixerKind::mamba2}) {
    for (const int64_t groups : {1, 4}) {
      MambaConfig config = small(mixer);
      config.width = 192;
      config.inner = 384;
      config.heads = 8;
      config.head_width = 48;
      config.groups = groups;
      config.state = 16;
      const LanguageModel model(config, random_tensors(config), Execution{});
      const std::vector<float> alone = every_value(model, Team());
      for (const int count : {2, 3, 7}) {
        const Threads threads(count);
        EXPECT_EQ(every_value(model, threads.team()), alone) << count;
      }
    }
  }
}

TEST(LanguageModel, CountsTheWorkOfAToken) {
  const MambaConfig c = small(MixerKind::mamba1);
  const LanguageModel one(c, random_tensors(c), Compute::f32);
  const int64_t D = c.width, E = c.inner, N = c.state, R = c.dt_rank;
  const int64_t linear = D * 2 * E + E * (R + 2 * N) + R * E + E * D;
  EXPECT_EQ(one.work_of_blocks().f32, c.layers * (linear + E * c.taps + 2 * E * N));
  EXPECT_EQ(one.work_of_blocks().exps, c.layers * (E * N + 3 * E));
  EXPECT_EQ(one.work_of_head().f32, D * c.vocabulary);
  const LanguageModel halves(c, random_tensors(c), Compute::bf16);
  EXPECT_EQ(halves.work_of_blocks().bf16, c.layers * linear);

  const MambaConfig d = small(MixerKind::mamba2);
  const LanguageModel two(d, random_tensors(d), Compute::f32);
  const int64_t channels = d.inner + 2 * d.groups * d.state;
  const int64_t products = d.width * (d.inner + channels + d.heads) + d.inner * d.width;
  EXPECT_EQ(two.work_of_blocks().f32,
            d.layers * (products + channels * d.taps + 2 * d.inner * d.state));
  EXPECT_EQ(two.work_of_blocks().int8 + two.work_of_blocks().bf16, 0);
}

TEST(Config, RefusesNumbersThatMakeNoSense) {
  MambaConfig config = small(MixerKind::mamba2);
  EXPECT_NO_THROW(config.check("f"));
  config.groups = 4;
  EXPECT_THROW(config.check("f"), Error);
  config = small(MixerKind::mamba2);
  config.head_width = 7;
  EXPECT_THROW(config.check("f"), Error);
  config = small(MixerKind::mamba1);
  config.layers = 0;
  EXPECT_THROW(config.check("f"), Error);
  config = small(MixerKind::mamba1);
  config.width = int64_t{1} << 40;
  EXPECT_THROW(config.check("f"), Error);
}

TEST(Sites, GlobsAndAliasesResolveAndUnknownNamesSuggest) {
  const SiteList sites = LanguageModelSites(small(MixerKind::mamba1)).list;
  EXPECT_EQ(sites.find("layer_0.conv1d:output")->name, "layer_0.x_proj:input");
  EXPECT_EQ(sites.find("layer_1.z_act:output")->name, "layer_1.z_act:input");
  EXPECT_EQ(sites.find("layer_9.z_act:input"), nullptr);
  EXPECT_EQ(sites.match("layer_*.x_proj:input", "--sites").size(), 2u);
  EXPECT_EQ(sites.match("layer_0.conv1d:*", "--sites").size(), 2u);
  try {
    sites.match("layer_0.xproj:input", "--sites");
    FAIL();
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("did you mean layer_0.x_proj:input"));
  }
}

TEST(Sites, NoRotatedSiteWithoutAHadamardTransform) {
  MambaConfig config = small(MixerKind::mamba1);
  config.width = 17;
  const SiteList sites = LanguageModelSites(config).list;
  EXPECT_EQ(sites.find("layer_0.in_proj:input@rotated"), nullptr);
  EXPECT_NE(sites.find("layer_0.out_proj:input@rotated"), nullptr);
}

}  // namespace
}  // namespace scute::models_test
