// Low-bit folders: complete, the same every time, and readable by others.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <set>

#include "scute/base/error.h"
#include "scute/language/hessians.h"
#include "scute/language/low_bit_config.h"
#include "tests/language/test_low_bit_models.h"

namespace scute::low_bit_checkpoint_test {
namespace {

namespace fs = std::filesystem;
using fixtures::Folder;
using low_bit::find;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsSupersetOf;
using testing::Not;

class LowBitFolder : public testing::TestWithParam<const char*> {
 protected:
  static const StatisticsSet& statistics() {
    static std::map<std::string, StatisticsSet> all;
    if (!all.contains(GetParam())) {
      CollectOptions options;
      options.data = {"examples/text/calibration.jsonl"};
      options.windows.samples = 4;
      options.windows.seqlen = 80;
      all[GetParam()] = collect(source(), options, {.threads = 2}).statistics;
    }
    return all[GetParam()];
  }
  static ModelDescription source() { return describe_model(std::string("examples/") + GetParam()); }
  static LowBitModel low_bit_model(const QuantizeOptions& options = {},
                                   const Hessians* hessians = nullptr, int threads = 2) {
    return quantize(source(), low_bit::plan_of(statistics()), &statistics(), hessians, options,
                    threads);
  }
  static bool mamba1() { return source().config.mixer == MixerKind::mamba1; }
};
INSTANTIATE_TEST_SUITE_P(Tiny, LowBitFolder, testing::Values("tiny-mamba1", "tiny-mamba2"),
                         [](const auto& tested) { return std::string(tested.param).substr(5); });

std::vector<std::string> keys(const Json& object) {
  std::vector<std::string> out;
  for (const auto& [key, value] : object.as_object("")) out.push_back(key);
  return out;
}

TEST_P(LowBitFolder, AFolderLoadedAgainGivesTheSameLogits) {
  const Folder folder;
  QuantizeOptions options;
  options.embedding = options.head = true;
  for (const char* format : {"W8A8", "W4A8", "W8A16", "W4A16"}) {
    SCOPED_TRACE(format);
    options.format = LayerFormat::parse(format, "");
    const LowBitModel low = low_bit_model(options);
    EXPECT_TRUE(write_low_bit(low, folder.path(format), false).identical);
    const ModelDescription read = describe_model(folder.path(format));
    EXPECT_TRUE(read.low_bit);
    EXPECT_EQ(read.scheme, low.description.scheme);
    for (const Backend backend : {Backend::integer, Backend::simulate}) {
      const Execution execution(Compute::f32, backend);
      EXPECT_TRUE(compare_logits(build_model(low, execution),
                                 load_model(read, execution, LanguageModel::Head::packed), 3)
                      .identical);
    }
  }
}

TEST_P(LowBitFolder, HoldsEverythingThatBelongsToIt) {
  const Folder folder;
  write_low_bit(low_bit_model(), folder.path("low"), false);
  std::set<std::string> names;
  for (const auto& entry : fs::directory_iterator(folder.path("low"))) {
    names.insert(entry.path().filename().string());
  }
  EXPECT_THAT(names, IsSupersetOf({"config.json", "model.safetensors", "plan.json", "recipe.json",
                                   "statistics.safetensors", "tokenizer.json"}));
  std::vector<std::string> beside;
  for (const auto& entry : fs::directory_iterator(folder.path(""))) {
    beside.push_back(entry.path().filename().string());
  }
  EXPECT_THAT(beside, ElementsAre("low")) << "something temporary was left";

  const Json config = Json::parse(read_text(folder.path("low/config.json")), "");
  const Json original = source().json;
  for (const auto& [key, value] : original.as_object("")) {
    EXPECT_EQ(config.at(key, "config.json"), value) << key;
  }
  const Json recipe = Json::parse(read_text(folder.path("low/recipe.json")), "");
  EXPECT_EQ(recipe.at("model_sha256", "").as_string(""), hash_model(source()));
  EXPECT_EQ(recipe.at("options", "").at("format", "").as_string(""), "W8A8");
  const Plan plan =
      Plan::from_json(Json::parse(read_text(folder.path("low/plan.json")), ""), "plan.json");
  EXPECT_FALSE(plan.sites.empty());
  EXPECT_EQ(read_text(folder.path("low/tokenizer.json")),
            read_text(std::string("examples/") + GetParam() + "/tokenizer.json"));
}

TEST_P(LowBitFolder, HasTheScalesThatInspectionToolsLookFor) {
  const LowBitModel low = low_bit_model();
  for (int64_t i = 0; i < low.description.config.layers; ++i) {
    const std::string mixer = "backbone.layers." + std::to_string(i) + ".mixer.";
    const std::vector<std::string> wanted =
        mamba1() ? std::vector<std::string>{"conv1d.output_scale", "selective_scan.ssm_state_scale"}
                 : std::vector<std::string>{"selective_scan.ssm_state_scale"};
    for (const std::string& name : wanted) {
      const Tensor* scale = find(low, mixer + name);
      ASSERT_NE(scale, nullptr) << mixer << name;
      EXPECT_EQ(scale->size(), 1);
      EXPECT_EQ(scale->dtype(), DType::f32);
      EXPECT_GT(scale->values<float>()[0], 0);
    }
    if (!mamba1()) continue;
    // Mamba-1's is the scale of x_proj's input.
    EXPECT_EQ(find(low, mixer + "conv1d.output_scale")->values<float>()[0],
              find(low, mixer + "x_proj.input_scale")->values<float>()[0]);
    const Decision& range = low.plan.sites.at("layer_" + std::to_string(i) + ".x_proj:input");
    const double largest = std::max(std::abs(range.lo), std::abs(range.hi));
    EXPECT_NEAR(find(low, mixer + "conv1d.output_scale")->values<float>()[0], largest / 127,
                1e-6 * largest);
  }
}

TEST_P(LowBitFolder, ThePublicBlockOfTheConfigHasNoPrivateKeys) {
  QuantizeOptions options;
  options.embedding = options.head = true;
  for (const char* name : {"FP", "W8A8", "W4A8", "W4A16", "W8A8", "W4A8"}) {
    options.hybrid.push_back(LayerFormats::all(LayerFormat::parse(name, "")));
  }
  const LowBitModel low = low_bit_model(options);
  const Json& block = low.config.at("quantization_config", "");
  EXPECT_THAT(
      std::vector<std::string>({"quant_method", "format", "quantization_status", "kv_cache_scheme",
                                "global_compression_ratio", "ignore", "config_groups"}),
      IsSupersetOf(keys(block)));
  EXPECT_EQ(block.at("quant_method", "").as_string(""), "compressed-tensors");
  const std::vector<std::string> arguments{"num_bits", "type",    "symmetric",
                                           "strategy", "dynamic", "group_size"};
  for (const auto& [name, group] : block.at("config_groups", "").as_object("")) {
    SCOPED_TRACE(name);
    EXPECT_THAT(std::vector<std::string>(
                    {"targets", "weights", "input_activations", "output_activations", "format"}),
                IsSupersetOf(keys(group)));
    EXPECT_THAT(arguments, IsSupersetOf(keys(group.at("weights", ""))));
    if (!group.at("input_activations", "").is_null()) {
      EXPECT_THAT(arguments, IsSupersetOf(keys(group.at("input_activations", ""))));
    }
  }
  EXPECT_EQ(layers_from_json(low.config.at("scute", ""), ""), options.hybrid);
}

bool same_tensors(const LowBitModel& a, const LowBitModel& b) {
  return std::ranges::equal(a.tensors, b.tensors, [](const NamedTensor& x, const NamedTensor& y) {
    return x.name == y.name && x.tensor.dtype() == y.tensor.dtype() &&
           x.tensor.shape() == y.tensor.shape() &&
           std::ranges::equal(x.tensor.bytes(), y.tensor.bytes());
  });
}

TEST_P(LowBitFolder, TheSameBytesEveryTime) {
  const Folder folder;
  for (const char* name : {"one", "two"}) write_low_bit(low_bit_model(), folder.path(name), false);
  for (const char* file :
       {"config.json", "model.safetensors", "plan.json", "recipe.json", "statistics.safetensors"}) {
    EXPECT_EQ(hash_file(folder.path(std::string("one/") + file)),
              hash_file(folder.path(std::string("two/") + file)))
        << file;
  }
}

TEST_P(LowBitFolder, GptqGivesTheSameBytesForAnyNumberOfThreadsAndBeatsRounding) {
  CalibrationOptions calibration;
  calibration.data = {"examples/text/calibration.jsonl"};
  calibration.windows.samples = 6;
  calibration.windows.seqlen = 96;
  const Hessians one = measure_hessians(source(), calibration, {.threads = 1});
  const Hessians three = measure_hessians(source(), calibration, {.threads = 3});
  EXPECT_EQ(one.meta.dump(), three.meta.dump());
  ASSERT_EQ(one.sites.size(), three.sites.size());
  for (const auto& [site, gram] : one.sites) {
    EXPECT_EQ(gram.values, three.sites.at(site).values) << site;
  }
  QuantizeOptions options;
  options.gptq = true;
  for (const char* name : {"W4A8", "W8A8", "FP", "FP", "FP", "FP"}) {
    options.hybrid.push_back(LayerFormats::all(LayerFormat::parse(name, "")));
  }
  const LowBitModel low = low_bit_model(options, &one, 1);
  for (const int threads : {2, 5}) {
    const LowBitModel other = low_bit_model(options, &three, threads);
    EXPECT_TRUE(same_tensors(low, other)) << threads;
    EXPECT_EQ(low.recipe.dump(), other.recipe.dump()) << threads;
  }
  const size_t per_layer = mamba1() ? 3 : 2;
  EXPECT_EQ(low.gptq.size(), per_layer * 2);
  for (const auto& [name, report] : low.gptq) {
    EXPECT_LT(report.error, report.error_nearest) << name;
    EXPECT_GT(report.damping, 0) << name;
  }
  EXPECT_EQ(keys(low.recipe.at("gptq", "")).size(), low.gptq.size());
}

TEST_P(LowBitFolder, SavedHessiansGiveTheSameCheckpoint) {
  const Folder folder;
  CalibrationOptions calibration;
  calibration.data = {"examples/text/calibration.jsonl"};
  calibration.windows.samples = 2;
  calibration.windows.seqlen = 64;
  const Hessians measured = measure_hessians(source(), calibration, {.threads = 2});
  write_hessians(folder.path("h.safetensors"), measured);
  const Hessians read = read_hessians(folder.path("h.safetensors"), source());
  EXPECT_EQ(read.meta, measured.meta);
  ASSERT_EQ(read.sites.size(), measured.sites.size());
  for (const auto& [site, gram] : measured.sites) {
    EXPECT_EQ(gram.values, read.sites.at(site).values) << site;
  }
}

TEST_P(LowBitFolder, RefusesALowBitModelAndAFolderThatExists) {
  const Folder folder;
  const LowBitModel low = low_bit_model();
  write_low_bit(low, folder.path("low"), false);
  const std::string before = hash_file(folder.path("low/model.safetensors"));
  write_low_bit(low, folder.path("low"), false);  // what nobody changed is replaced
  EXPECT_EQ(hash_file(folder.path("low/model.safetensors")), before);
  std::ofstream(folder.path("low/recipe.json"), std::ios::app) << "\n";
  EXPECT_THROW(write_low_bit(low, folder.path("low"), false), Error);
  EXPECT_TRUE(read_text(folder.path("low/recipe.json")).ends_with("\n\n"));
  EXPECT_NO_THROW(write_low_bit(low, folder.path("low"), true));
  EXPECT_THROW(quantize(describe_model(folder.path("low")), Plan{}, nullptr, nullptr, {}), Error);
}

/// In Hugging Face's words with a head of its own: both tables are quantized apart.
TEST(LowBitUntied, BothTablesAreQuantizedAndTheHeadTakesTheRotation) {
  const Folder folder;
  for (const char* layer : {"Mamba1", "Mamba2"}) {
    SCOPED_TRACE(layer);
    const std::string config =
        std::string(R"({"d_model": 64, "n_layer": 2, "vocab_size": 128, "tie_embeddings": false,
                        "ssm_cfg": {"layer": ")") +
        layer + R"("}})";
    const ModelDescription model = low_bit::random_model(folder.path(layer), config);
    const StatisticsSet statistics = low_bit::random_statistics(model, folder);
    const Plan plan = low_bit::plan_of(statistics, "minmax");
    QuantizeOptions options;
    for (const char* format : {"W8A8", "W4A8", "W8A16", "W4A16"}) {
      for (const auto& [embedding, head] : {std::pair(true, true), {true, false}, {false, true}}) {
        SCOPED_TRACE(std::string(format) + (embedding ? " embedding" : "") + (head ? " head" : ""));
        options.format = LayerFormat::parse(format, "");
        options.embedding = embedding;
        options.head = head;
        const LowBitModel low = quantize(model, plan, &statistics, nullptr, options);
        EXPECT_TRUE(low.description.scheme.folded_head);
        EXPECT_EQ(find(low, "lm_head.weight_scale") != nullptr, head);
        EXPECT_EQ(find(low, "backbone.embeddings.weight_scale") != nullptr, embedding);
        const std::string path = folder.path(std::string("low") + layer);
        EXPECT_TRUE(write_low_bit(low, path, true).identical);
        Tensor ids(DType::i32, {40});
        Random random(8);
        for (int32_t& id : ids.mutable_values<int32_t>()) {
          id = static_cast<int32_t>(random.below(128));
        }
        const double likeness = low_bit::correlation(
            low_bit::logits_of(low_bit::plain(model), ids.values<int32_t>()),
            low_bit::logits_of(build_model(low, Execution{}), ids.values<int32_t>()));
        // As in low_bit_test.cc; random weights have no outliers but also no redundancy.
        EXPECT_GT(likeness, options.format.weight_bits == 8 ? 0.995 : 0.94);
      }
    }
  }
}

}  // namespace
}  // namespace scute::low_bit_checkpoint_test
