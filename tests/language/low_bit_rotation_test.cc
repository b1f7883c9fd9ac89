// Folding, rotating and reordering change nothing but rounding.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "scute/language/hessians.h"
#include "scute/language/reorder.h"
#include "scute/quantize/grouping.h"
#include "scute/tensor/weights.h"
#include "tests/language/test_low_bit_models.h"

namespace scute::low_bit_rotation_test {
namespace {

using fixtures::Folder;
using low_bit::all_float;
using low_bit::find;
using low_bit::plain;
using testing::IsEmpty;

/// Difference of the logits of the plain and the rotated model, relative to the largest logit. All
/// edits are made in double and rounded once, so each element of a matrix is off by 2^-24 of
/// itself and each product by about that; a few layers of them stay far below 1e-4, and a wrong
/// fold is off by tenths.
constexpr double kSame = 1e-4;

std::string state_spaces(const char* layer, int64_t width, int64_t vocabulary, bool tied,
                         const std::string& more) {
  return fmt::format(
      R"({{"d_model": {}, "n_layer": 2, "vocab_size": {}, "tie_embeddings": {},
          "ssm_cfg": {{"layer": "{}"{}}}}})",
      width, vocabulary, tied, layer, more);
}

struct Size {
  const char* name;
  const char* layer;
  int64_t width;
  const char* more;  ///< of ssm_cfg
  bool tied;
};

class RotatedSizes : public testing::TestWithParam<Size> {};
// Width and inner width: K·2^m with each K. 20 itself is the one width whose K is 20 (20·2^m, m ≥
// 1, takes 40).
INSTANTIATE_TEST_SUITE_P(
    Families, RotatedSizes,
    testing::Values(Size{"one32and64", "Mamba1", 32, "", true},
                    Size{"one32and64untied", "Mamba1", 32, "", false},
                    Size{"twelve24and48", "Mamba1", 24, "", true},
                    Size{"twelve24and48untied", "Mamba1", 24, "", false},
                    Size{"twenty20forty40", "Mamba1", 20, "", true},
                    Size{"twenty20and20untied", "Mamba1", 20, R"(, "expand": 1)", false},
                    Size{"twentyeight28and56", "Mamba1", 28, "", true},
                    Size{"twentyeight28and56untied", "Mamba1", 28, "", false},
                    Size{"forty40and80untied", "Mamba1", 40, "", false},
                    Size{"two24and48", "Mamba2", 24,
                         R"(, "headdim": 8, "d_state": 6, "ngroups": 2)", false},
                    Size{"two40and80", "Mamba2", 40, R"(, "headdim": 8, "D_has_hdim": true)", true},
                    Size{"two28and56", "Mamba2", 28, R"(, "headdim": 7)", true},
                    Size{"two20and20", "Mamba2", 20, R"(, "headdim": 5, "expand": 1)", false},
                    Size{"two32and64", "Mamba2", 32, R"(, "headdim": 16)", false}),
    [](const auto& tested) { return std::string(tested.param.name); });

TEST_P(RotatedSizes, TheRotatedFloatModelGivesTheSameLogits) {
  const Size& size = GetParam();
  const Folder folder;
  const ModelDescription model = low_bit::random_model(
      folder.path("m"), state_spaces(size.layer, size.width, 30, size.tied, size.more));
  const LowBitModel rotated = all_float(model);
  EXPECT_TRUE(rotated.description.scheme.rotated_stream);
  EXPECT_TRUE(rotated.description.scheme.rotated_out_proj);
  EXPECT_EQ(rotated.description.scheme.folded_head, !size.tied);
  EXPECT_THAT(rotated.remarks, IsEmpty());
  // In its folder too: a float32 matrix is stored as one.
  const ProbeComparison stored = write_low_bit(rotated, folder.path("low"), false);
  EXPECT_TRUE(stored.identical);
  const auto compared = compare_logits(plain(model), build_model(rotated, Execution{}), 1);
  EXPECT_LT(compared.largest, kSame);
  EXPECT_FALSE(compared.identical) << "nothing was rotated";
}

class RotatedTiny : public testing::TestWithParam<const char*> {};
INSTANTIATE_TEST_SUITE_P(Examples, RotatedTiny, testing::Values("tiny-mamba1", "tiny-mamba2"),
                         [](const auto& tested) { return std::string(tested.param).substr(5); });

TEST_P(RotatedTiny, ATrainedModelRotatedGivesTheSameLogits) {
  const Folder folder;
  const ModelDescription source = describe_model(std::string("examples/") + GetParam());
  const ModelDescription model =
      low_bit::write_model(folder.path("m"), source.json.dump(), read_weights(source));
  const auto compared = compare_logits(plain(model), build_model(all_float(model), Execution{}), 1);
  EXPECT_LT(compared.largest, kSame);
}

TEST_P(RotatedTiny, FoldingAloneGivesTheSameLogits) {
  const Folder folder;
  const ModelDescription source = describe_model(std::string("examples/") + GetParam());
  const ModelDescription model =
      low_bit::write_model(folder.path("m"), source.json.dump(), read_weights(source));
  QuantizeOptions options;
  options.hadamard = false;
  const LowBitModel folded = all_float(model, options);
  EXPECT_FALSE(folded.description.scheme.rotated_stream);
  const auto norm = find(folded, "backbone.layers.0.norm.weight")->to_f32();
  for (const float x : norm.values<float>()) ASSERT_EQ(x, 1);
  EXPECT_LT(compare_logits(plain(model), build_model(folded, Execution{}), 1).largest, kSame);
}

TEST(RotatedFallback, AWidthWithoutATransformIsLeftAloneAndSaidSo) {
  const Folder folder;
  struct Case {
    const char* layer;
    int64_t width;
    const char* more;
    bool stream, out_proj;
  };
  // 36, 3, 72 and 9·8 are no 1, 12, 20, 28 or 40 times a power of two; 4·3 = 12 and 8 are.
  for (const Case& c :
       {Case{"Mamba1", 36, "", false, false}, Case{"Mamba2", 36, R"(, "headdim": 9)", false, false},
        Case{"Mamba1", 3, R"(, "expand": 4)", false, true},
        Case{"Mamba2", 3, R"(, "expand": 4, "headdim": 3)", false, true},
        Case{"Mamba1", 8, R"(, "expand": 9)", true, false},
        Case{"Mamba2", 8, R"(, "expand": 9, "headdim": 9)", true, false}}) {
    SCOPED_TRACE(fmt::format("{} {}{}", c.layer, c.width, c.more));
    for (const bool tied : {true, false}) {
      const std::string path = folder.path(fmt::format("{}{}{}", c.layer, c.width, tied));
      const ModelDescription model =
          low_bit::random_model(path, state_spaces(c.layer, c.width, 16, tied, c.more));
      const LowBitModel low = all_float(model);
      EXPECT_EQ(low.description.scheme.rotated_stream, c.stream);
      EXPECT_EQ(low.description.scheme.rotated_out_proj, c.out_proj);
      const auto says = [&](const char* words) {
        return std::ranges::any_of(low.remarks, [&](const std::string& sentence) {
          return sentence.find(words) != std::string::npos;
        });
      };
      EXPECT_EQ(says("the residual stream is not rotated"), !c.stream);
      EXPECT_EQ(says("out_proj's input is not rotated"), !c.out_proj);
      EXPECT_LT(compare_logits(plain(model), build_model(low, Execution{}), 1).largest, kSame);
      // And with every site rounded: the needed sites are there, rotated or plain.
      const StatisticsSet statistics = low_bit::random_statistics(model, folder);
      const LowBitModel rounded =
          quantize(model, low_bit::plan_of(statistics, "minmax"), &statistics, nullptr, {});
      EXPECT_NO_THROW(build_model(rounded, Execution{}));
    }
  }
}

/// The float model that the 8-bit weights are, without any grid for activations.
LanguageModel weights_alone(const LowBitModel& low) {
  Weights weights("weights alone");
  for (const NamedTensor& item : low.tensors) {
    if (item.name.ends_with("_scale") || item.name.ends_with("_range")) continue;
    if (item.tensor.dtype() != DType::i8) {
      weights.add(item.name, item.tensor);
      continue;
    }
    const Tensor* scales = find(low, item.name + "_scale");
    Tensor real(DType::f32, item.tensor.shape());
    const auto rows = item.tensor.dim(0), columns = item.tensor.size() / rows;
    for (int64_t i = 0; i < item.tensor.size(); ++i) {
      real.mutable_values<float>()[static_cast<size_t>(i)] =
          static_cast<float>(item.tensor.values<int8_t>()[static_cast<size_t>(i)]) *
          scales->values<float>()[static_cast<size_t>(i / columns)];
    }
    weights.add(item.name, std::move(real));
  }
  use_plain_names(weights);
  return {low.description.config, std::move(weights), Execution{}, LanguageModel::Head::packed,
          low.description.scheme};
}

class Grouped : public testing::TestWithParam<const char*> {};
INSTANTIATE_TEST_SUITE_P(Shapes, Grouped,
                         testing::Values(R"(, "headdim": 8, "d_state": 16)",
                                         R"(, "headdim": 8, "ngroups": 2)",
                                         R"(, "headdim": 8, "ngroups": 4, "D_has_hdim": true)",
                                         R"(, "headdim": 32)"));

TEST_P(Grouped, ReorderedHeadsAndChannelsWithTheSameWeightsGiveTheSameLogits) {
  const Folder folder;
  const ModelDescription model =
      low_bit::random_model(folder.path("m"), state_spaces("Mamba2", 32, 40, true, GetParam()));
  const StatisticsSet statistics = low_bit::random_statistics(model, folder);
  const Plan plan = low_bit::plan_of(statistics, "minmax");
  QuantizeOptions options;
  options.hadamard = false;
  const LowBitModel apart = quantize(model, plan, &statistics, nullptr, options);
  options.group_heads = true;
  const LowBitModel grouped = quantize(model, plan, &statistics, nullptr, options);
  const std::string name = "backbone.layers.0.mixer.";
  const Tensor &before = *find(apart, name + "out_proj.weight"),
               &after = *find(grouped, name + "out_proj.weight");
  ASSERT_FALSE(std::ranges::equal(before.bytes(), after.bytes())) << "nothing moved";
  // Rows of in_proj and the convolution have scales of their own, and a row of out_proj keeps its
  // elements: the very codes move. Only sums run in another order.
  const auto compared = compare_logits(weights_alone(apart), weights_alone(grouped), 1);
  EXPECT_LT(compared.largest, 1e-5);
}

TEST_P(Grouped, HessiansFollowTheReorderedChannels) {
  const Folder folder;
  const ModelDescription model =
      low_bit::random_model(folder.path("m"), state_spaces("Mamba2", 32, 40, true, GetParam()));
  const StatisticsSet statistics = low_bit::random_statistics(model, folder);
  CalibrationOptions calibration;
  calibration.data = {folder.path("ids.npy")};
  calibration.windows = {.samples = 8, .seqlen = 80};
  const Hessians hessians = measure_hessians(model, calibration, {.threads = 2});
  const Plan plan = low_bit::plan_of(statistics, "minmax");
  QuantizeOptions options;
  options.gptq = true;
  options.hadamard = false;
  const LowBitModel apart = quantize(model, plan, &statistics, &hessians, options);
  options.group_heads = true;
  const LowBitModel grouped = quantize(model, plan, &statistics, &hessians, options);
  // Rounding to nearest takes each weight alone: reordered together with its Hessian it has the
  // same error, summed in doubles in another order.
  const std::string name = "backbone.layers.0.mixer.out_proj";
  const double error = apart.gptq.at(name).error_nearest;
  EXPECT_GT(error, 0);
  EXPECT_NEAR(grouped.gptq.at(name).error_nearest, error, 1e-6 * error);
}

TEST_P(Grouped, TheScalesOfAGroupHoldWhatItsChannelsShow) {
  const Folder folder;
  const ModelDescription model =
      low_bit::random_model(folder.path("m"), state_spaces("Mamba2", 32, 40, true, GetParam()));
  const StatisticsSet statistics = low_bit::random_statistics(model, folder);
  QuantizeOptions options;
  options.group_heads = true;
  const LowBitModel low =
      quantize(model, low_bit::plan_of(statistics, "minmax"), &statistics, nullptr, options);
  const std::string scan = "backbone.layers.1.mixer.selective_scan.";
  const int64_t G = model.config.groups, N = model.config.state;
  EXPECT_EQ(find(low, scan + "u_scale")->shape(), (Shape{G, 4, 4}));
  EXPECT_EQ(find(low, scan + "ssm_state_scale")->shape(), (Shape{G, 4, 4, N}));
  EXPECT_EQ(find(low, scan + "B_scale")->shape(), (Shape{G}));
  const Statistic& seen = statistics.sites.at("layer_1.x_conv_out:input");
  const float largest = *std::ranges::max_element(seen.channel_absmax);
  const auto scales = find(low, scan + "u_scale")->values<float>();
  EXPECT_FLOAT_EQ(*std::ranges::max_element(scales) * 127, largest);
  EXPECT_LT(*std::ranges::min_element(scales) * 127, 0.9f * largest);
  const Tensor ids = Tensor::of<int32_t>({5}, std::vector<int32_t>{1, 2, 3, 4, 5});
  const auto exact = low_bit::logits_of(plain(model), ids.values<int32_t>());
  const auto rounded = low_bit::logits_of(build_model(low, Execution{}), ids.values<int32_t>());
  EXPECT_GT(low_bit::correlation(exact, rounded), 0.99);
}

TEST_P(Grouped, TheRecipesPercentileIsNotForGroupsAndTheEffectIsThatOfTheStoredScales) {
  const Folder folder;
  const ModelDescription model =
      low_bit::random_model(folder.path("m"), state_spaces("Mamba2", 32, 40, true, GetParam()));
  const StatisticsSet statistics = low_bit::random_statistics(model, folder);
  QuantizeOptions options;
  options.group_heads = true;
  options.hadamard = false;
  const auto scales_of = [&](const LowBitModel& low, int layer, const char* name) {
    const std::string scan = fmt::format("backbone.layers.{}.mixer.selective_scan.", layer);
    return to_vector(*find(low, scan + name));
  };
  const Plan quamba = low_bit::plan_of(statistics, "quamba:0.9");
  const LowBitModel low = quantize(model, quamba, &statistics, nullptr, options);
  const LowBitModel whole =
      quantize(model, low_bit::plan_of(statistics, "minmax"), &statistics, nullptr, options);
  EXPECT_EQ(scales_of(low, 0, "u_scale"), scales_of(whole, 0, "u_scale"));
  EXPECT_EQ(scales_of(low, 0, "ssm_state_scale"), scales_of(whole, 0, "ssm_state_scale"));
  EXPECT_THAT(low.remarks, testing::Contains(testing::HasSubstr("--group-percentile")));

  options.group_percentile = 0.9;
  const LowBitModel capped = quantize(model, quamba, &statistics, nullptr, options);
  EXPECT_LT(std::ranges::max(scales_of(capped, 0, "u_scale")),
            std::ranges::max(scales_of(low, 0, "u_scale")));
  for (const LowBitModel* one : {&low, &capped}) {
    for (const ReorderEffect& effect : reorder_effect(model, statistics, one->plan)) {
      if (!effect.site.starts_with("layer_1.x_conv_out")) continue;
      const std::vector<float> scales = scales_of(*one, 1, "u_scale");
      EXPECT_NEAR(std::ranges::max(scales) * 127, effect.before, 1e-6 * effect.before);
      const std::string scan = "backbone.layers.1.mixer.selective_scan.";
      const auto ends = [&](const char* name) {
        const auto values = find(*one, scan + name)->values<int32_t>();
        return std::vector<int32_t>(values.begin(), values.end());
      };
      const HeadGrouping grouping =
          grouping_from_ends(ends("x_head_group_range"), ends("x_dim_group_range"),
                             model.config.heads, model.config.head_width, model.config.groups, "");
      double sum = 0;
      for (const float scale : grouping.spread(scales)) sum += 127 * static_cast<double>(scale);
      const double mean = sum / static_cast<double>(model.config.inner);
      EXPECT_NEAR(mean, effect.after, 1e-6 * mean);
    }
  }
}

}  // namespace
}  // namespace scute::low_bit_rotation_test
