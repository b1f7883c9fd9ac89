#include "scute/cobra/quantize.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "scute/base/error.h"
#include "scute/cobra/test_cobra_quantize.h"
#include "scute/cobra/writer.h"
#include "scute/io/safetensors.h"
#include "tests/cobra/test_models.h"

namespace scute::quantize_test {
namespace {

using namespace cobra_models;
using testing::AllOf;
using testing::Each;
using testing::HasSubstr;
using testing::ThrowsMessage;

constexpr auto kVision = CobraModel::Parts::vision;
const std::string kQkv = "blocks.0.attn.qkv", kDinoQkv = "vision.dino.blocks.0.attn.qkv";

class CobraQuantize : public testing::Test {
 protected:
  LowBitCobra quantize(const Plan& ranges, const CobraQuantizeOptions& options = {},
                       const StatisticsSet* statistics = nullptr) const {
    return quantize_cobra(model, ranges, statistics, options);
  }
  static CobraQuantizeOptions all(const char* format) {
    CobraQuantizeOptions out;
    out.format = LayerFormat::parse(format, "");
    return out;
  }
  /// A plan with ranges of the four buckets alone.
  static Plan buckets_only() {
    return without(plan_of(small_statistics(), "tail"),
                   [](const std::string& site) { return site.find(':') != std::string::npos; });
  }
  std::string format_of(const LowBitCobra& low, const std::string& matrix) const {
    const Json& matrices = low.description.json.at("scute", "").at("matrices", "");
    return matrices.at(matrix, "").as_string("");
  }
  static std::string picture() { return std::string(kPicturesPath) + "/1_wide.png"; }

  CobraDescription model = describe_cobra(kModelPath);
  Plan plan = plan_of(small_statistics(), "auto");
};

TEST_F(CobraQuantize, EveryMatrixBecomesEightBits) {
  const LowBitCobra low = quantize(plan, {}, &small_statistics());
  for (const char* part : {"blocks.0.attn.qkv", "blocks.1.mlp.fc2", "patch_embed.proj"}) {
    const std::string name = part;
    ASSERT_NE(find(low.towers[0], name + ".weight_scale"), nullptr) << name;
    EXPECT_EQ(find(low.towers[0], name + ".weight")->dtype(), DType::i8);
    EXPECT_EQ(find(low.towers[0], name + ".input_scale")->shape(), Shape{1});
  }
  EXPECT_EQ(find(low.towers[0], "patch_embed.proj.weight")->shape(), (Shape{32, 3 * 14 * 14}));
  EXPECT_EQ(find(low.projector, "projector.4.weight")->dtype(), DType::i8);
  // The last block is never computed, and not stored.
  EXPECT_EQ(find(low.towers[0], "blocks.2.attn.qkv.weight"), nullptr);
  EXPECT_TRUE(is_float(find(low.towers[0], "blocks.0.norm1.weight")->dtype()));
  ASSERT_TRUE(low.language.has_value());
  EXPECT_TRUE(low.description.low_bit);
  EXPECT_EQ(low.remarks, std::vector<std::string>{});
}

TEST_F(CobraQuantize, InputScalesAreThePlansLargerMagnitudeOver127) {
  plan.sites[kDinoQkv + ":input"] = range(-2.54, 1);
  const LowBitCobra low = quantize(plan);
  EXPECT_FLOAT_EQ(find(low.towers[0], kQkv + ".input_scale")->values<float>()[0], 0.02F);
  EXPECT_TRUE(low.plan.sites.contains(kDinoQkv + ":input"));
  EXPECT_TRUE(low.plan.sites.contains("layer_0.x_proj:input"));
}

TEST_F(CobraQuantize, IntegerAndSimulatedTowersAreTheSameBits) {
  for (const char* format : {"W8A8", "W4A8"}) {
    SCOPED_TRACE(format);
    const LowBitCobra low = quantize(plan, all(format));
    const Execution simulated(Compute::f32, Backend::simulate);
    const auto a = probe_cobra(build_cobra(low, Execution{}), 3);
    const auto b = probe_cobra(build_cobra(low, simulated), 3);
    // Sums of at most 720 products of codes stay below 720 · 127 · 128 < 2^24: exact in both.
    EXPECT_TRUE(compare_probes({a[0], a[1]}, {b[0], b[1]}).identical);
  }
}

TEST_F(CobraQuantize, FourBitsHaveTwoLevelsBesideEightBitInputs) {
  const LowBitCobra low = quantize(plan, all("W4A8"));
  EXPECT_NE(find(low.towers[1], "blocks.0.mlp.fc2.weight_packed"), nullptr);
  EXPECT_NE(find(low.towers[1], "blocks.0.mlp.fc2.weight_channel_scale"), nullptr);
  EXPECT_NE(find(low.towers[1], "blocks.0.mlp.fc2.input_scale"), nullptr);
  // 3 · 14² pixels of a patch: groups of 147.
  EXPECT_EQ(find(low.towers[1], "patch_embed.proj.weight_scale")->dim(1), 4);
  EXPECT_TRUE(remarked(low.remarks, "groups of 147", "vision.siglip.patch_embed.proj"));
}

TEST_F(CobraQuantize, FourBitsBesideFloatsNeedNoRanges) {
  const LowBitCobra low = quantize(Plan{}, all("W4A16"));
  EXPECT_EQ(find(low.towers[0], kQkv + ".weight_channel_scale"), nullptr);
  EXPECT_EQ(find(low.towers[0], kQkv + ".input_scale"), nullptr);
  EXPECT_TRUE(low.language.has_value());
  EXPECT_TRUE(low.description.ranges.empty());
  EXPECT_NO_THROW(probe_cobra(build_cobra(low, Execution{}), 3));
}

TEST_F(CobraQuantize, BucketsHaveFormatsOfTheirOwn) {
  CobraQuantizeOptions options;
  options.buckets["vision.dino"] = LayerFormat::parse("W4A8", "");
  options.buckets["projector"] = LayerFormat::parse("FP", "");
  options.buckets["llm"] = LayerFormat::parse("W4A16", "");
  const LowBitCobra low = quantize(plan, options);
  EXPECT_EQ(format_of(low, kDinoQkv), "W4A8");
  EXPECT_EQ(format_of(low, "vision.siglip.blocks.0.attn.qkv"), "W8A8");
  EXPECT_EQ(format_of(low, "projector.0"), "FP");
  EXPECT_TRUE(is_float(find(low.projector, "projector.0.weight")->dtype()));
  const Json& layers = low.language->config.at("scute", "").at("layers", "");
  EXPECT_THAT(layers.as_array(""), Each(Json("W4A16")));
  // What was planned for the projector is not silently forgotten.
  EXPECT_TRUE(remarked(low.remarks, "not used", "projector.0:input"));
}

TEST_F(CobraQuantize, AFloatBucketIsTheFloatModel) {
  CobraQuantizeOptions options;
  options.buckets["vision.dino"] = LayerFormat::parse("FP", "");
  const Plan unclipped =
      without(plan, [](const std::string& site) { return site.find(':') == std::string::npos; });
  const CobraModel low = build_cobra(quantize(unclipped, options), Execution{}, kVision);
  const CobraModel whole = load_cobra(model, Execution{}, kVision);
  EXPECT_EQ(tower_output(low, model, picture(), 0), tower_output(whole, model, picture(), 0));
  EXPECT_NE(tower_output(low, model, picture(), 1), tower_output(whole, model, picture(), 1));
}

TEST_F(CobraQuantize, GlobsIncludeAndExclude) {
  CobraQuantizeOptions options;
  options.include = {"vision.*"};
  options.exclude = {"*.blocks.0.*"};
  const LowBitCobra low = quantize(plan, options);
  EXPECT_EQ(format_of(low, kDinoQkv), "FP");
  EXPECT_TRUE(is_float(find(low.towers[0], kQkv + ".weight")->dtype()));
  EXPECT_EQ(format_of(low, "vision.dino.blocks.1.attn.qkv"), "W8A8");
  EXPECT_EQ(format_of(low, "projector.0"), "FP");
  EXPECT_FALSE(low.language.has_value());
  options.include = {"layer_1"};
  options.exclude = {};
  const LowBitCobra layer = quantize(plan, options);
  EXPECT_THAT(layer.language->config.at("scute", "").at("layers", "").dump(), R"(["FP","W8A8"])");
  options.include = {"vision.clip.*"};
  EXPECT_THAT([&] { quantize(plan, options); },
              ThrowsMessage<Error>(AllOf(HasSubstr("--include"), HasSubstr("vision.clip.*"))));
}

TEST_F(CobraQuantize, TheFourBucketsAloneClipAndGiveTheProjectorItsInput) {
  Plan four = buckets_only();
  ASSERT_EQ(four.sites.size(), 4u);
  four.sites["vision.dino"] = range(-0.5, 1.27);
  four.sites["vision.siglip"] = range(-2.54, 0.25);
  const LowBitCobra low = quantize(four);
  EXPECT_FLOAT_EQ(find(low.projector, "projector.0.input_scale")->values<float>()[0], 0.02F);
  EXPECT_EQ(format_of(low, "projector.0"), "W8A8");
  EXPECT_EQ(format_of(low, kDinoQkv), "W8A16");
  EXPECT_EQ(find(low.towers[0], kQkv + ".input_scale"), nullptr);
  // One sentence for all of them: 9 of each tower, 2 of the projector.
  EXPECT_TRUE(remarked(low.remarks, "20 inputs stay in floats", "scute collect"));
  EXPECT_FALSE(low.language.has_value());
  EXPECT_TRUE(remarked(low.remarks, "llm stays in floats", "layer_*"));
  EXPECT_EQ(low.remarks.size(), 2u);
  four.sites["vision.siglip"] = range(-0.5, 5.08);
  EXPECT_FLOAT_EQ(find(quantize(four).projector, "projector.0.input_scale")->values<float>()[0],
                  0.04F);
}

TEST_F(CobraQuantize, ABucketsRangeClipsItsTensors) {
  Plan four = buckets_only();
  four.sites["vision.dino"] = range(-0.25, 0.5);
  const LowBitCobra low = quantize(four);
  const CobraModel built = build_cobra(low, Execution{}, kVision);
  const auto values = tower_output(built, model, picture(), 0);
  EXPECT_EQ(*std::ranges::min_element(values), -0.25F);
  EXPECT_EQ(*std::ranges::max_element(values), 0.5F);
}

TEST_F(CobraQuantize, WhatThePlanLacksIsDecidedFromStatistics) {
  const LowBitCobra low = quantize(buckets_only(), {}, &small_statistics());
  EXPECT_EQ(format_of(low, kDinoQkv), "W8A8");
  EXPECT_TRUE(low.language.has_value());
  EXPECT_NE(low.plan.sites.at(kDinoQkv + ":input").policy, "tail") << "auto inside the buckets";
  EXPECT_TRUE(low.statistics.has_value());
  // Without any plan the buckets too.
  const LowBitCobra alone = quantize(Plan{}, {}, &small_statistics());
  EXPECT_EQ(alone.description.ranges.size(), 4u);
  CobraQuantizeOptions minmax;
  minmax.policy = Policy::parse("minmax");
  const LowBitCobra other = quantize(Plan{}, minmax, &small_statistics());
  EXPECT_EQ(other.plan.sites.at(kDinoQkv + ":input").policy, "minmax");
}

TEST_F(CobraQuantize, AskingForALowBitLanguageModelWithoutItsRangesIsAnError) {
  CobraQuantizeOptions options;
  options.buckets["llm"] = LayerFormat::parse("W8A8", "");
  EXPECT_THAT(
      [&] { quantize(buckets_only(), options); },
      ThrowsMessage<Error>(AllOf(HasSubstr("llm"), HasSubstr("layer_"), HasSubstr("--sites"))));
  options.buckets.clear();
  options.buckets["vision.clip"] = LayerFormat{};
  EXPECT_THAT([&] { quantize(plan, options); },
              ThrowsMessage<Error>(AllOf(HasSubstr("vision.clip"), HasSubstr("vision.siglip"))));
}

// The plan's hash is that of the whole model, the language model's own that of llm/ alone.
TEST_F(CobraQuantize, ALanguageModelWithAFolderOfItsOwn) {
  const CobraFolder folder;
  Weights weights = read_weights(cobra_language(model));
  std::vector<NamedTensor> tensors;
  for (const std::string& name : weights.names()) tensors.push_back({name, weights.take(name)});
  write_safetensors(folder.file("llm/model.safetensors"), tensors, {{"format", "pt"}});
  const CobraDescription own = describe_cobra(folder.path());
  plan.meta["model_sha256"] = hash_cobra(own);
  StatisticsSet statistics = small_statistics();
  statistics.meta["model_sha256"] = hash_cobra(own);
  const LowBitCobra low = quantize_cobra(own, plan, &statistics, CobraQuantizeOptions{});
  ASSERT_TRUE(low.language.has_value());
  EXPECT_EQ(low.recipe.at("model_sha256", "").as_string(""), hash_cobra(own));
  EXPECT_EQ(low.language->recipe.at("model_sha256", "").as_string(""),
            hash_model(cobra_language(own)));
}

TEST_F(CobraQuantize, SitesThatTheModelLacksAreNamedWithTheNearest) {
  plan.sites["vision.dinov2"] = range(-1, 1);
  EXPECT_THAT([&] { quantize(plan); },
              ThrowsMessage<Error>(
                  AllOf(HasSubstr("vision.dinov2"), HasSubstr("did you mean vision.dino"))));
}

TEST_F(CobraQuantize, APlanOfAnotherModelIsRefusedAndOneWithoutANameTaken) {
  plan.meta["model_sha256"] = std::string(64, 'a');
  EXPECT_THAT([&] { quantize(plan); },
              ThrowsMessage<Error>(AllOf(HasSubstr("plan"), HasSubstr("SHA-256 aaaaaaaaaaaa"))));
  StatisticsSet other = small_statistics();
  other.meta["model_sha256"] = std::string(64, 'b');
  plan.meta = Json();
  EXPECT_THAT([&] { quantize(plan, {}, &other); },
              ThrowsMessage<Error>(AllOf(HasSubstr("statistics"), HasSubstr("bbbbbbbbbbbb"))));
  EXPECT_TRUE(remarked(quantize(plan).remarks, "model not recorded"));
}

TEST_F(CobraQuantize, ZeroWidthNamesBucketCauseAndRemedy) {
  plan.sites["projector"] = range(0.5, 0.5);
  plan.sites[kDinoQkv + ":input"] = range(0, 0);
  EXPECT_THAT([&] { quantize(plan); },
              ThrowsMessage<Error>(AllOf(HasSubstr("2 problems"), HasSubstr("projector: the range"),
                                         HasSubstr(kDinoQkv), HasSubstr("constant slice"),
                                         HasSubstr("too few samples"), HasSubstr("more batches"))));
}

TEST_F(CobraQuantize, ConstantDataAreARemark) {
  // Decided, not written by hand: nothing but this value was ever seen there.
  Decision zeros = range(0, 0), constant = range(0.5, 0.5);
  zeros.policy = constant.policy = "tail";
  plan.sites[kDinoQkv + ":input"] = zeros;
  plan.sites["projector"] = constant;
  const LowBitCobra low = quantize(plan);
  EXPECT_TRUE(remarked(low.remarks, "one value only", "projector (0.5)"));
  EXPECT_TRUE(remarked(low.remarks, "too few samples", kDinoQkv));
  EXPECT_FALSE(low.description.ranges.contains("projector"));
  EXPECT_GT(find(low.towers[0], kQkv + ".input_scale")->values<float>()[0], 0.0F);
}

TEST_F(CobraQuantize, RangesForOtherBitsAreRefused) {
  plan.sites[kDinoQkv + ":input"].grid.bits = 4;
  EXPECT_THAT([&] { quantize(plan); },
              ThrowsMessage<Error>(AllOf(HasSubstr(kDinoQkv), HasSubstr("4 bits"))));
}

TEST_F(CobraQuantize, TheRecipeSaysWhatBecameOfEachMatrix) {
  const LowBitCobra low = quantize(plan, all("W4A8"));
  const Json& one = low.recipe.at("matrices", "").at("vision.siglip.patch_embed.proj", "");
  EXPECT_EQ(one.at("format", "").as_string(""), "W4A8");
  EXPECT_EQ(one.at("group_size", "").as_int(""), 147);
  EXPECT_GT(one.at("input_scale", "").as_double(""), 0);
  EXPECT_EQ(low.recipe.at("model_sha256", "").as_string(""), hash_cobra(model));
  EXPECT_EQ(low.recipe.at("options", "").at("format", "").as_string(""), "W4A8");
}

TEST_F(CobraQuantize, AnyNumberOfThreadsGivesTheSameBytes) {
  const LowBitCobra a = quantize_cobra(model, plan, nullptr, all("W4A8"), 1);
  const LowBitCobra b = quantize_cobra(model, plan, nullptr, all("W4A8"), 3);
  EXPECT_EQ(a.recipe.dump(), b.recipe.dump());
  ASSERT_EQ(a.projector.size(), b.projector.size());
  for (size_t i = 0; i < a.projector.size(); ++i) {
    EXPECT_EQ(a.projector[i].name, b.projector[i].name);
    EXPECT_TRUE(std::ranges::equal(a.projector[i].tensor.bytes(), b.projector[i].tensor.bytes()));
  }
}

class CobraQuantizeQuality : public testing::Test {
 protected:
  void SetUp() override {
    if (!std::filesystem::exists(kShared)) GTEST_SKIP() << "SKIPPED: ../shared not present";
    model = describe_cobra(kShared);
    if (statistics.sites.empty()) statistics = measure(model, kImages);
  }
  /// ‖low − float‖ / ‖float‖ of each tower's output over the 8 shared pictures, which the ranges
  /// were measured on too.
  std::vector<double> errors(const char* format, const char* policy) const {
    CobraQuantizeOptions options;
    options.format = LayerFormat::parse(format, "");
    const Plan plan = plan_of(statistics, policy);
    const CobraModel low =
        build_cobra(quantize_cobra(model, plan, nullptr, options), Execution{}, kVision);
    const CobraModel whole = load_cobra(model, Execution{}, kVision);
    std::vector<double> out;
    for (size_t i = 0; i < model.config.towers.size(); ++i) {
      std::vector<float> rounded, exact;
      for (const std::string& picture : list_pictures(kImages)) {
        const auto a = tower_output(low, model, picture, i);
        const auto b = tower_output(whole, model, picture, i);
        rounded.insert(rounded.end(), a.begin(), a.end());
        exact.insert(exact.end(), b.begin(), b.end());
      }
      out.push_back(relative_error(rounded, exact));
      RecordProperty(fmt::format("{}_{}_{}", format, policy, model.config.towers[i].bucket),
                     fmt::format("{:.4f}", out.back()));
    }
    return out;
  }

  static constexpr const char* kShared = "../shared/models/tiny-cobra";
  static constexpr const char* kImages = "../shared/images";
  static inline StatisticsSet statistics;
  CobraDescription model;
};

// Measured, DINO and SigLIP: auto 0.0278, 0.0253; minmax 0.0276, 0.0251 (weights alone 0.0180,
// 0.0152); tail, which cuts up to 1 % of the values, 0.133, 0.121.
TEST_F(CobraQuantizeQuality, EightBitsStayNear) {
  EXPECT_THAT(errors("W8A8", "auto"), Each(testing::Lt(0.03)));
  EXPECT_THAT(errors("W8A8", "minmax"), Each(testing::Lt(0.03)));
  EXPECT_THAT(errors("W8A8", "tail"), Each(testing::Lt(0.16)));
}

// Measured: W4A16 0.236, 0.220; the random towers have no redundancy.
TEST_F(CobraQuantizeQuality, FourBitWeightsLoseMore) {
  const auto eight = errors("W8A8", "auto"), four = errors("W4A8", "auto");
  for (size_t i = 0; i < four.size(); ++i) {
    EXPECT_LT(four[i], 0.35);
    EXPECT_LT(4 * eight[i], four[i]);
  }
}

}  // namespace
}  // namespace scute::quantize_test
