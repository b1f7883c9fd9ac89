// Cobra within a given memory: the same bytes as with all weights in memory.
#include <gtest/gtest.h>

#include "scute/base/error.h"
#include "scute/cobra/compare.h"
#include "scute/cobra/test_cobra_quantize.h"
#include "scute/cobra/writer.h"
#include "scute/io/file.h"
#include "scute/language/test_models.h"

namespace scute {
namespace {

using namespace cobra_models;
using testing_models::Folder;

TEST(CobraWithinMemory, CollectsLayerByLayer) {
  const Folder folder;
  const CobraDescription model = describe_cobra(kModelPath);
  CobraCollectOptions options;
  options.images = kPicturesPath;
  options.per_channel = true;
  for (const char* sites : {"*", "layer_0*", ""}) {
    options.sites = sites;
    const CobraCollectResult whole = collect_cobra(model, options, {.threads = 2});
    for (const ByLayers& together : {ByLayers{3, ""}, ByLayers{2, folder.path("")}, ByLayers{}}) {
      for (const int threads : {1, 3}) {
        const CobraCollectResult layers =
            collect_cobra(model, options, {.threads = threads, .by_layers = together});
        EXPECT_EQ(layers.pictures, whole.pictures);
        EXPECT_EQ(layers.silent_sites, whole.silent_sites);
        EXPECT_EQ(layers.statistics.meta, whole.statistics.meta);
        EXPECT_TRUE(layers.statistics.sites == whole.statistics.sites)
            << "sites " << sites << ", " << together.samples << " together";
      }
    }
  }
}

TEST(CobraWithinMemory, RefusesTheLayersOfALowBitModel) {
  const Folder folder;
  CobraQuantizeOptions four;
  four.format = LayerFormat::parse("W4A16", "");
  write_cobra(quantize_cobra(describe_cobra(kModelPath), Plan{}, nullptr, four), folder.path("low"),
              false);
  CobraCollectOptions options;
  options.images = kPicturesPath;
  options.sites = "*";
  const CobraDescription low = describe_cobra(folder.path("low"));
  EXPECT_THROW(collect_cobra(low, options, {.by_layers = ByLayers{}}), Error);
}

/// Also of a low-bit one whose text is clipped.
TEST(CobraWithinMemory, ComparesLayerByLayer) {
  const Folder folder;
  const CobraDescription model = describe_cobra(kModelPath);
  const Plan plan = plan_of(small_statistics(), "auto");
  constexpr auto kAll = CobraModel::Parts::all;
  for (const char* format : {"W8A8", "W4A16"}) {
    CobraQuantizeOptions options;
    options.format = LayerFormat::parse(format, "");
    options.buckets["llm"] = options.format;
    write_cobra(quantize_cobra(model, plan, &small_statistics(), options), folder.path(format),
                false);
    CobraDescription low = describe_cobra(folder.path(format));
    low.ranges["llm"] = {-0.05F, 0.04F};
    CobraCompareOptions how{.images = kPicturesPath};
    const std::string whole =
        items_text(compare_cobra(low, load_cobra(low, Compute::f32, kAll), model,
                                 load_cobra(model, Compute::f32, kAll), how));
    for (const std::string& streams : {std::string(), folder.path("")}) {
      LayeredCobra ours = load_layered_cobra(low, Compute::f32, streams);
      LayeredCobra theirs = load_layered_cobra(model, Compute::f32, streams);
      for (const int threads : {1, 3}) {
        how.threads = threads;
        EXPECT_EQ(items_text(compare_cobra(low, ours, model, theirs, 2, how)), whole)
            << format << ", " << threads << " threads";
      }
    }
  }
}

TEST(CobraWithinMemory, QuantizesAndChecksLayerByLayer) {
  const Folder folder;
  const CobraDescription model = describe_cobra(kModelPath);
  const Plan plan = plan_of(small_statistics(), "auto");
  const QuantizeMemory tight{.at_work = 1, .tensors_in = folder.path("")};
  for (const char* format : {"W8A8", "W4A16", "FP"}) {
    CobraQuantizeOptions options;
    options.buckets["llm"] = LayerFormat::parse(format, "");
    const auto quantized = [&](const QuantizeMemory& memory) {
      return quantize_cobra(model, plan, &small_statistics(), options, 2, {}, memory);
    };
    const ProbeComparison whole = write_cobra(quantized({}), folder.path("whole"), true);
    FolderWriter writer(folder.path("layers"), {.sources = {kModelPath}, .replace = true});
    const ProbeComparison layers = write_cobra(quantized(tight), writer, FolderCheck::by_layers);
    EXPECT_TRUE(layers.identical);
    EXPECT_EQ(layers.values, whole.values);
    for (const char* file : {"config.json", "recipe.json", "vision/dino/model.safetensors",
                             "projector/model.safetensors", "llm/model.safetensors"}) {
      EXPECT_EQ(hash_file(folder.path("layers/") + file), hash_file(folder.path("whole/") + file))
          << format << ' ' << file;
    }
  }
}

}  // namespace
}  // namespace scute
