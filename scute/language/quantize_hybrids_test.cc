// Quantizing hybrids: what folding and rotating leave, every format, one kind of part apart.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "scute/base/error.h"
#include "scute/language/export.h"
#include "scute/language/hessians.h"
#include "scute/language/low_bit_config.h"
#include "scute/language/low_bit_files.h"
#include "scute/language/scale_names.h"
#include "scute/language/search.h"
#include "scute/language/test_hybrid_models.h"

namespace scute::quantize_hybrids_test {
namespace {

using namespace testing_models;
using testing::HasSubstr;

class QuantizeHybrids : public testing::TestWithParam<NamedHybrid> {
 protected:
  const MambaConfig& config() const { return GetParam().second; }
  bool shared() const { return config().shared.count > 0; }
};
INSTANTIATE_TEST_SUITE_P(All, QuantizeHybrids, testing::ValuesIn(all_hybrids()), hybrid_name);

LanguageModel run_by(const LowBitModel& low, Backend backend) {
  return build_model(low, {Compute::f32, backend});
}

// Edits are made in double and rounded once: an element of a matrix is off by 2^-24 of itself, and
// a product by about that. A fold in the wrong place is off by tenths.
constexpr double kSame = 2e-5;

TEST_P(QuantizeHybrids, FloatsFoldedAndRotatedAreThePlainModel) {
  for (const float outlier : {1.0F, 30.0F}) {
    const ModelDescription model = hybrid_model(config(), outlier);
    QuantizeOptions options;
    options.format = LayerFormat::parse("FP", "");
    const LowBitModel low = quantize(model, {}, nullptr, nullptr, options);
    EXPECT_EQ(low.description.scheme.rotated_stream, !shared());
    EXPECT_TRUE(low.description.scheme.rotated_out_proj);
    const bool feeds_forward = !config().feed_forward_widths().empty();
    EXPECT_EQ(low.description.scheme.rotated_down_proj, feeds_forward);
    EXPECT_EQ(low.description.scheme.rotated_experts, config().experts.count > 0);
    EXPECT_EQ(low.description.scheme.rotated_latent, config().experts.latent > 0);
    EXPECT_EQ(scheme_from_json(low.config.at("scute", ""), ""), low.description.scheme);
    const auto plain = hybrid_logits(load_model(model, Execution{}, LanguageModel::Head::packed));
    EXPECT_LT(apart(hybrid_logits(build_model(low, Execution{})), plain), kSame) << outlier;
    for (const NamedTensor& item : low.tensors) {
      const bool stream =
          item.name.ends_with(".norm.weight") || item.name.ends_with("norm2.weight");
      if (!stream || item.name.find("shared") != std::string::npos) continue;
      if (item.name.find("layers") == std::string::npos) continue;
      EXPECT_THAT(to_vector(item.tensor), testing::Each(1.0F)) << item.name;
    }
  }
}

TEST_P(QuantizeHybrids, EveryFormatRoundsEveryMatrixAndBothExecutionsAgree) {
  const Folder folder;
  const ModelDescription model = hybrid_model(config(), 8);
  const StatisticsSet statistics = hybrid_statistics(model, folder);
  const auto plain = hybrid_logits(load_model(model, Execution{}, LanguageModel::Head::packed));
  for (const char* format : {"W8A8", "W4A8", "W8A16", "W4A16"}) {
    SCOPED_TRACE(format);
    QuantizeOptions options;
    options.format = LayerFormat::parse(format, "");
    options.state_rounding = Scheme::StateRounding::nearest;
    const LowBitModel low = quantize(model, hybrid_plan(statistics), &statistics, nullptr, options);
    const auto integer = hybrid_logits(run_by(low, Backend::integer));
    const auto simulated = hybrid_logits(run_by(low, Backend::simulate));
    if (options.format.eight_bit_activations()) {
      EXPECT_EQ(simulated, integer);  // sums of at most 64 products are exact in both
    } else {
      EXPECT_LT(relative_error(simulated, integer), 1e-5);
    }
    // 0.0003 to 0.10 of 8 bits, 0.006 to 0.35 of 4 bits, by model.
    EXPECT_LT(relative_error(integer, plain), options.format.weight_bits == 8 ? 0.15 : 0.45);
    EXPECT_GT(relative_error(integer, plain), 1e-4);
    for (const NamedTensor& item : low.tensors) {
      const bool kept = item.name.find("router") != std::string::npos ||
                        item.name.find("adapter") != std::string::npos ||
                        item.name.find("dt_proj") != std::string::npos ||
                        item.name.find("lm_head") != std::string::npos;
      if (item.name.find("_proj.weight") == std::string::npos || kept) continue;
      EXPECT_FALSE(item.name.ends_with(".weight") && item.tensor.dtype() != DType::i8) << item.name;
    }
    // What a folder goes through when it is loaded again.
    const LanguageModel read = load_model(as_read(low), Execution{}, LanguageModel::Head::packed);
    EXPECT_EQ(hybrid_logits(read), integer);
  }
}

TEST_P(QuantizeHybrids, KindsOfPartsHaveFormatsOfTheirOwn) {
  const Folder folder;
  const ModelDescription model = hybrid_model(config());
  const StatisticsSet statistics = hybrid_statistics(model, folder);
  const Plan plan = hybrid_plan(statistics);
  QuantizeOptions options;
  options.format = LayerFormat::parse("FP", "");
  options.mixers = LayerFormat::parse("W8A8", "");
  const LowBitModel low = quantize(model, plan, &statistics, nullptr, options);
  EXPECT_EQ(quantize(model, plan, &statistics, nullptr, options).config, low.config);
  std::set<std::string> rounded;
  for (const NamedTensor& item : low.tensors) {
    if (item.tensor.dtype() == DType::i8) rounded.insert(item.name);
  }
  EXPECT_FALSE(rounded.empty());
  for (const std::string& name : rounded) EXPECT_THAT(name, HasSubstr(".mixer.")) << name;
  const auto layers = layers_from_json(low.config.at("scute", ""), "");
  for (const BlockConfig& block : config().all_blocks()) {
    const LayerFormats& formats = layers[static_cast<size_t>(block.layer)];
    for (const PartKind kind : block.parts) {
      EXPECT_EQ(formats.of(kind).name(), kind == PartKind::mixer ? "W8A8" : "FP");
    }
  }
  const LanguageModel read = load_model(as_read(low), Execution{}, LanguageModel::Head::packed);
  EXPECT_EQ(hybrid_logits(read), hybrid_logits(build_model(low, Execution{})));
}

TEST_P(QuantizeHybrids, ConfigAndTensorsMustAgreeForEveryKind) {
  QuantizeOptions options;
  options.format = LayerFormat::parse("W8A16", "");
  const LowBitModel low = quantize(hybrid_model(config()), {}, nullptr, nullptr, options);
  std::set<PartKind> kinds;
  for (const BlockConfig& block : config().all_blocks()) {
    kinds.insert(block.parts.begin(), block.parts.end());
  }
  if (shared()) kinds.insert({PartKind::attention, PartKind::feed_forward});
  const LayerFormat other = LayerFormat::parse("FP", "");
  for (const PartKind kind : kinds) {
    LayerFormats formats = LayerFormats::all(options.format);
    (kind == PartKind::mixer          ? formats.mixer
     : kind == PartKind::attention    ? formats.attention
     : kind == PartKind::feed_forward ? formats.feed_forward
                                      : formats.experts) = other;
    ModelDescription wrong = as_read(low);
    wrong.json["scute"]["layers"] =
        Json(Json::Array(static_cast<size_t>(config().layers), formats.to_json()));
    EXPECT_THROW(load_model(wrong, Execution{}, LanguageModel::Head::packed), Error)
        << static_cast<int>(kind);
  }
}

TEST_P(QuantizeHybrids, EveryScaleHasItsSite) {
  const Folder folder;
  const ModelDescription model = hybrid_model(config());
  const StatisticsSet statistics = hybrid_statistics(model, folder);
  Plan plan = hybrid_plan(statistics);
  // That one takes the pooled range.
  plan.sites.erase("layer_0.experts.1.down_proj:input@rotated");
  QuantizeOptions options;
  options.conv_scale = QuantizeOptions::ConvScale::tensor;
  options.state_scale = QuantizeOptions::StateScale::tensor;
  const LowBitModel low = quantize(model, plan, nullptr, nullptr, options);
  ScaleOrigins origins{low.description.scheme, false, std::set<std::string>()};
  for (const auto& [site, decision] : low.plan.sites) origins.experts->insert(site);
  const auto scales = find_scales(names_of(low), config().mixer, origins);
  LowBitFiles files;
  for (const NamedTensor& item : low.tensors) files.tensors.add(item.name, item.tensor);
  std::set<std::string> used, tensors;
  for (const StoredScale& scale : scales) {
    ASSERT_TRUE(low.plan.sites.contains(scale.site)) << scale.tensor << ": " << scale.site;
    EXPECT_TRUE(agrees(scale_values(files, scale.tensor),
                       planned_scale(files, scale.site, low.plan.sites.at(scale.site))))
        << scale.tensor << ": " << scale.site;
    used.insert(scale.site);
    tensors.insert(scale.tensor);
  }
  for (const std::string& name : names_of(low)) {
    EXPECT_EQ(is_activation_scale(name), tensors.contains(name)) << name;
  }
  for (const auto& [site, decision] : low.plan.sites) EXPECT_TRUE(used.contains(site)) << site;
}

TEST_P(QuantizeHybrids, DequantizedItIsThePlainModelOfTheRoundedWeights) {
  const ModelDescription model = hybrid_model(config(), 8);
  QuantizeOptions options;
  options.format = LayerFormat::parse("W4A16", "");
  const LowBitModel low = quantize(model, {}, nullptr, nullptr, options);
  const PlainModel plain = dequantized(as_read(low), DType::f32);
  Weights weights("plain");
  for (const NamedTensor& item : plain.tensors) weights.add(item.name, item.tensor);
  const ModelDescription again = embedded(config(), weights);
  EXPECT_LT(apart(hybrid_logits(load_model(again, Execution{}, LanguageModel::Head::packed)),
                  hybrid_logits(build_model(low, Execution{}))),
            kSame);
}

TEST_P(QuantizeHybrids, TheCacheIsOfTheFormAskedFor) {
  const ModelDescription model = hybrid_model(config());
  QuantizeOptions options;
  options.format = LayerFormat::parse("W8A16", "");
  const auto made = [&](CacheForm form) {
    options.cache = form;
    return quantize(model, {}, nullptr, nullptr, options);
  };
  const auto bytes = [](const LanguageModel& of) {
    scute::Run run;
    State state = of.new_state();
    const auto hidden = run.matrix(3, of.config().width);
    of.hidden(run, std::vector<int32_t>{1, 2, 3}, state, hidden);
    return state.bytes();
  };
  const LanguageModel floats = build_model(made(CacheForm::f32), Execution{});
  const auto exact = hybrid_logits(floats);
  int64_t before = bytes(floats);
  const int64_t a_token = floats.cache_bytes_per_token();
  const int64_t heads = a_token / (8 * config().attention.head_width);  // of keys, all layers
  double worst = 0;
  for (const CacheForm form : {CacheForm::bf16, CacheForm::int8}) {
    const LowBitModel low = made(form);
    EXPECT_EQ(scheme_from_json(low.config.at("scute", ""), "").cache, form);
    const LanguageModel again = load_model(as_read(low), Execution{}, LanguageModel::Head::packed);
    EXPECT_LT(bytes(again), before);
    EXPECT_EQ(again.cache_bytes_per_token(),
              form == CacheForm::bf16 ? a_token / 2 : a_token / 4 + 8 * heads);
    before = bytes(again);
    const double error = relative_error(hybrid_logits(again), exact);
    EXPECT_GT(error, worst);
    EXPECT_LT(error, 0.05);
    worst = error;
  }
}

LowBitModel made_of(const MambaConfig& config, const QuantizeOptions& options) {
  return quantize(hybrid_model(config), {}, nullptr, nullptr, options);
}

std::string refusal(const MambaConfig& config, const QuantizeOptions& options) {
  try {
    made_of(config, options);
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

TEST(QuantizeHybridsAlone, FormatsForPartsThatAreNotThereAreRefused) {
  MambaConfig pure = test::small_hybrid(MixerKind::mamba2, {});
  pure.blocks.clear();
  QuantizeOptions base;
  base.format = LayerFormat::parse("W8A16", "");
  const LayerFormat other = LayerFormat::parse("W4A16", "");
  QuantizeOptions options = base;
  options.attention = other;
  EXPECT_THAT(refusal(pure, options), HasSubstr("--attention: expected a model with attention"));
  options = base;
  options.experts = other;
  EXPECT_THAT(refusal(pure, options), HasSubstr("--experts"));
  options = base;
  options.feed_forwards = other;
  EXPECT_THAT(refusal(pure, options), HasSubstr("--feed-forwards"));
  options = base;
  options.cache = CacheForm::int8;
  EXPECT_THAT(refusal(pure, options), HasSubstr("--cache"));
  options = base;
  options.mixers = other;
  EXPECT_EQ(refusal(pure, options), "");
  MambaConfig attention = test::small_hybrid(MixerKind::mamba2, {});
  for (BlockConfig& block : attention.blocks) block.parts = {PartKind::attention};
  EXPECT_THAT(refusal(attention, options), HasSubstr("--mixers"));
}

TEST(QuantizeHybridsAlone, OfPartsThatAreNotThereNoFormatIsWritten) {
  MambaConfig pure = test::small_hybrid(MixerKind::mamba2, {});
  pure.blocks.clear();
  QuantizeOptions options;
  options.format = LayerFormat::parse("W8A16", "");
  options.mixers = LayerFormat::parse("W4A16", "");
  const Json layers = made_of(pure, options).config.at("scute", "").at("layers", "");
  EXPECT_EQ(layers.dump(), R"(["W4A16","W4A16","W4A16"])");
  options.attention = LayerFormat::parse("FP", "");
  const LowBitModel low = made_of(test::small_hybrids()[4].second, options);  // Falcon-H1
  const auto formats = layers_from_json(low.config.at("scute", ""), "");
  EXPECT_EQ(formats.front().text(), "W4A16, attention FP, feed-forward W8A16");
}

TEST(QuantizeHybridsAlone, FeedForwardsOfAWidthWithoutATransformAreNotRotated) {
  MambaConfig config = test::small_hybrid(MixerKind::mamba2, {PartKind::feed_forward});
  for (BlockConfig& block : config.blocks) block.inner = block.layer == 1 ? 44 : 48;
  QuantizeOptions options;
  options.format = LayerFormat::parse("W8A16", "");
  LowBitModel low = made_of(config, options);
  EXPECT_FALSE(low.description.scheme.rotated_down_proj);
  EXPECT_THAT(low.remarks, testing::Contains(HasSubstr("down_proj's input is not rotated: its "
                                                       "width 44")));
  ModelDescription wrong = as_read(low);
  wrong.scheme.rotated_down_proj = true;
  EXPECT_THROW(load_model(wrong, Execution{}, LanguageModel::Head::packed), Error);
}

TEST(QuantizeHybridsAlone, GroupsThatDoNotDivideAWidthBecomeTheLargestPowerOfTwo) {
  MambaConfig config = test::small_hybrid(MixerKind::mamba2, {PartKind::feed_forward});
  QuantizeOptions options;
  options.format = LayerFormat::parse("W4A16", "");
  options.group = 32;
  const LowBitModel low = made_of(config, options);  // of 48 inputs 16
  EXPECT_THAT(low.remarks,
              testing::Contains(HasSubstr("matrices of 48 inputs have 4-bit scales for "
                                          "16 of them instead of 32")));
  for (const NamedTensor& item : low.tensors) {
    if (item.name != "backbone.layers.0.mlp.down_proj.weight_scale") continue;
    EXPECT_EQ(item.tensor.dim(1), 3);
  }
  config.blocks[1].inner = config.blocks[3].inner = config.blocks[5].inner = 40;
  EXPECT_THAT(refusal(config, options), HasSubstr("a group that divides 40 inputs"));
}

TEST(QuantizeHybridsAlone, OtherToolsReadWhichMatricesHaveWhichForm) {
  const MambaConfig config = test::small_hybrids()[3].second;  // Nemotron
  QuantizeOptions options;
  options.format = LayerFormat::parse("W4A16", "");
  options.attention = LayerFormat::parse("W8A16", "");
  options.group = 16;
  options.experts = LayerFormat::parse("FP", "");
  const Json said = made_of(config, options).config.at("quantization_config", "");
  std::string all;
  for (const auto& [name, group] : said.at("config_groups", "").as_object("")) {
    for (const Json& target : group.at("targets", "").as_array("")) {
      const std::string text = target.as_string("");
      all += text + " " + group.at("weights", "").at("num_bits", "").dump() + "\n";
    }
  }
  EXPECT_THAT(all, HasSubstr("re:.*layers\\.(1)\\.attention\\.(q_proj|k_proj|v_proj)$ 8"));
  EXPECT_THAT(all, HasSubstr("re:.*layers\\.(0|2)\\.mixer\\."));
  EXPECT_THAT(all, HasSubstr("re:.*layers\\.(3)\\.mlp\\.(up_proj)$ 4"));
  EXPECT_THAT(all, testing::Not(HasSubstr("experts")));
  EXPECT_THAT(said.at("ignore", "").dump(), HasSubstr("router"));
}

}  // namespace
}  // namespace scute::quantize_hybrids_test
