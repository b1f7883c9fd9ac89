// Layer by layer: the same numbers as with all weights in memory, however the samples are cut.
#include "scute/language/layer_pass.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>

#include "scute/base/error.h"
#include "scute/language/test_hybrid_models.h"
#include "scute/recipe/statistics_io.h"

namespace scute::layer_pass_test {
namespace {

using namespace testing_models;

CollectOptions few_windows(const std::string& data) {
  CollectOptions options;
  options.data = {data};
  options.windows.samples = 8;
  options.windows.seqlen = 80;
  options.per_channel = true;
  options.sites = "*";  // lm_head:output too
  options.save_activations = 7;
  return options;
}

/// Everything that a collection finds, as bytes.
std::string bytes_of(const CollectResult& result, const Folder& folder) {
  const std::string path = folder.path("statistics.safetensors");
  write_statistics(path, result.statistics);
  std::string out = read_text(path);
  for (const NamedTensor& kept : result.activations) {
    const auto bytes = kept.tensor.bytes();
    out += kept.name + std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  }
  return out;
}

class LayerByLayer : public testing::TestWithParam<NamedHybrid> {};
INSTANTIATE_TEST_SUITE_P(Hybrids, LayerByLayer, testing::ValuesIn(all_hybrids()), hybrid_name);

TEST_P(LayerByLayer, StatisticsAreTheSameBytes) {
  const Folder folder;
  const ModelDescription model = hybrid_model(GetParam().second);
  const CollectOptions options = few_windows(hybrid_data(model.config, folder));
  const std::string whole = bytes_of(collect(model, options, {.threads = 2}), folder);
  for (const int threads : {1, 3}) {
    for (const ByLayers& by : {ByLayers{}, ByLayers{3, ""}, ByLayers{2, folder.path("")}}) {
      const PassControl how{.threads = threads, .by_layers = by};
      EXPECT_EQ(bytes_of(collect(model, options, how), folder), whole)
          << threads << " threads, " << by.samples << " samples together " << by.folder;
    }
  }
}

TEST_P(LayerByLayer, LogitsAreTheSameBits) {
  const Folder folder;
  const ModelDescription model = hybrid_model(GetParam().second);
  const LanguageModel whole = load_model(model, Compute::bf16, LanguageModel::Head::packed);
  LayeredModel layered(model.config, read_weights(model), Compute::bf16);
  const auto ids = hybrid_ids(model.config, 40);
  std::vector<float> seen;
  LayerPass pass(layered, {ids}, LayerPass::End::head, folder.path(""),
                 [&](int64_t, scute::Run&, MatView<const float> logits) {
                   seen.assign(logits.data, logits.data + logits.size());
                 });
  scute::Run run;
  for (int64_t step = 0; step < pass.steps(); ++step) {
    pass.begin(step);
    pass.show(step, 0, run);
  }
  EXPECT_EQ(seen, hybrid_logits(whole));
}

TEST(LayerByLayer, MovingAveragesAreThoseOfTheSameOrder) {
  const Folder folder;
  const ModelDescription model = hybrid_model(all_hybrids().front().second);
  CollectOptions options = few_windows(hybrid_data(model.config, folder));
  options.ema = true;
  const CollectResult whole = collect(model, options, {.threads = 1});
  const PassControl how{.threads = 3, .by_layers = ByLayers{3, ""}};
  EXPECT_EQ(collect(model, options, how).statistics.meta.dump(), whole.statistics.meta.dump());
}

/// Of 8 windows the first chunks of 3 count: an interruption in the third leaves 6, in the first
/// nothing.
TEST(LayerByLayer, AnInterruptionLeavesTheChunksThatWereFinished) {
  const Folder folder;
  const ModelDescription model = hybrid_model(all_hybrids().front().second);
  CollectOptions options = few_windows(hybrid_data(model.config, folder));
  options.save_activations = 0;
  options.windows.take = 6;
  const std::string six = bytes_of(collect(model, options, {.threads = 1}), folder);
  options.windows.take.reset();
  for (const int64_t stop_after : {7, 1}) {
    std::atomic<bool> cancelled = false;
    const PassControl how{
        .threads = 2,
        .progress = [&](int64_t done, int64_t) { cancelled = done >= stop_after; },
        .cancelled = &cancelled,
        .by_layers = ByLayers{3, ""}};
    if (stop_after == 1) {
      EXPECT_THROW(collect(model, options, how), Error);
      continue;
    }
    const CollectResult result = collect(model, options, how);
    EXPECT_TRUE(result.interrupted);
    EXPECT_EQ(result.samples, 6);
    const std::string path = folder.path("six.safetensors");
    write_file(path, six);
    EXPECT_EQ(result.statistics.sites, read_statistics(path).sites);
  }
}

}  // namespace
}  // namespace scute::layer_pass_test
