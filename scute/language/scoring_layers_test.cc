// Scores of a model of which one layer is in memory: those of the whole model, to the last digit.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

#include "scute/base/error.h"
#include "scute/language/scoring.h"
#include "scute/language/test_hybrid_models.h"

namespace scute::scoring_layers_test {
namespace {

using namespace testing_models;
using testing::HasSubstr;

class ScoredLayerByLayer : public testing::TestWithParam<NamedHybrid> {};
INSTANTIATE_TEST_SUITE_P(Hybrids, ScoredLayerByLayer, testing::ValuesIn(all_hybrids()),
                         hybrid_name);

/// Windows that overlap, and passages of many lengths.
ScoreOptions some_options() {
  ScoreOptions out;
  out.windows = {.window = 24, .stride = 16, .context = 3};
  out.max_context = 20;
  return out;
}
ScoreWork some_work(const MambaConfig& config) {
  ScoreWork out;
  out.stream = hybrid_ids(config, 120);
  for (int64_t i = 0; i < 5; ++i) {
    out.items.push_back({hybrid_ids(config, 4 + 7 * i), 1 + i % 3});
  }
  return out;
}

std::string shown(const Scores& scores, const ScoreWork& work) {
  return items_text(scores, work.items) + scores.not_finite;
}

void expect_the_same(const ModelDescription& model, const Execution& execution,
                     const std::string& folder) {
  const ScoreWork work = some_work(model.config);
  const ScoreOptions options = some_options();
  const LanguageModel whole = load_model(model, execution, LanguageModel::Head::packed);
  const std::string expected = shown(score(whole, work, options, Threads(2)), work);
  LayeredModel layered(model.config, read_weights(model), execution, model.scheme);
  for (const int count : {1, 3}) {
    for (const ByLayers& by : {ByLayers{}, ByLayers{3, ""}, ByLayers{2, folder}}) {
      const Threads threads(count);
      EXPECT_EQ(shown(score_by_layers(layered, work, options, threads, by), work), expected)
          << count << " threads, " << by.samples << " together";
    }
  }
}

TEST_P(ScoredLayerByLayer, FloatModelsHaveTheSameDigits) {
  const Folder folder;
  const ModelDescription model = hybrid_model(GetParam().second);
  expect_the_same(model, Compute::f32, folder.path(""));
  expect_the_same(model, Compute::bf16, folder.path(""));
}

TEST_P(ScoredLayerByLayer, LowBitModelsHaveTheSameDigits) {
  const Folder folder;
  const ModelDescription model = hybrid_model(GetParam().second);
  const StatisticsSet statistics = hybrid_statistics(model, folder);
  QuantizeOptions options;
  options.group = 8;
  for (const char* format : {"W4A8", "W8A16"}) {
    options.format = LayerFormat::parse(format, "");
    const ModelDescription low =
        as_read(quantize(model, hybrid_plan(statistics), &statistics, nullptr, options));
    expect_the_same(low, Execution(), folder.path(""));
  }
}

/// Found by another pass over the window, which shows the same sites in the same order.
TEST(LayerByLayerScores, SayWhereAValueThatIsNoNumberArises) {
  const Folder folder;
  const NamedHybrid made = all_hybrids().front();
  const ModelDescription good = hybrid_model(made.second);
  const Weights made_weights = read_weights(good);
  Weights weights("hybrid");
  for (const std::string& name : made_weights.names()) {
    const Tensor& tensor = made_weights.at(name);
    Tensor copy = Tensor::of<float>(tensor.shape(), tensor.values<float>());
    if (name == "backbone.layers.1.norm.weight") {
      copy.mutable_values<float>()[2] = std::numeric_limits<float>::infinity();
    }
    weights.add(name, std::move(copy));
  }
  const ModelDescription bad = embedded(made.second, weights);
  expect_the_same(bad, Compute::f32, folder.path(""));
  LayeredModel layered(bad.config, read_weights(bad), Compute::f32);
  const Scores scores =
      score_by_layers(layered, some_work(bad.config), some_options(), Threads(2), {});
  EXPECT_THAT(scores.not_finite, HasSubstr("first at layer_1."));
}

TEST(LayerByLayerScores, AreRefusedTokenByToken) {
  const ModelDescription model = hybrid_model(all_hybrids().front().second);
  LayeredModel layered(model.config, read_weights(model), Compute::f32);
  ScoreOptions options = some_options();
  options.windows.feed = Feed::one_by_one;
  EXPECT_THROW(score_by_layers(layered, some_work(model.config), options, Threads(1), {}), Error);
}

}  // namespace
}  // namespace scute::scoring_layers_test
