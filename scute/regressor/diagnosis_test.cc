#include "scute/regressor/diagnosis.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <set>

#include "scute/models/regressor/test_regressors.h"
#include "scute/regressor/test_regressor_folders.h"

namespace scute::diagnosis_test {
namespace {

using namespace testing_folders;
using testing::ElementsAre;
using testing_regressors::random_weights;
using testing_regressors::small;
using Variant = RegressorConfig::Variant;

RegressorCheckpoint checkpoint_of(Variant variant) {
  RegressorCheckpoint out;
  out.path = "memory";
  out.config = small(variant);
  out.weights = random_weights(out.config);
  return out;
}

LayerRounding integer(int bits, float input, float weight) {
  return {RegressorBackend::integer, bits, {input}, {weight}, 0};
}

RegressorDiagnosis diagnosis_of(const RegressorCheckpoint& checkpoint,
                                const RegressorRounding& rounding, const FeatureFolder& folder) {
  return diagnose(checkpoint, build_regressor(checkpoint, rounding), rounding, folder);
}

/// Share of |x / scale| > 127 and 10·log10 of signal over noise, by plain loops.
std::pair<double, double> quality(std::span<const float> values, double scale) {
  double out = 0, signal = 0, noise = 0;
  for (const float x : values) {
    const double code = std::nearbyint(static_cast<double>(x / static_cast<float>(scale)));
    const double off = double{x} - std::clamp(code, -128.0, 127.0) * scale;
    out += std::abs(double{x} / scale) > 127 ? 1 : 0;
    signal += double{x} * double{x};
    noise += off * off;
  }
  return {out / static_cast<double>(values.size()), 10 * std::log10(signal / noise)};
}

TEST(RegressorDiagnosis, SaturationAndNoiseAreThoseOfPlainLoops) {
  const RegressorCheckpoint checkpoint = checkpoint_of(Variant::slim);
  FeatureFolder folder = random_folder(checkpoint.config, 1);
  // One window a sequence: each of its frames is projected once.
  for (FeatureSequence& sequence : folder.sequences) sequence.ends = {20};
  const float input = 1.0F / 100, weight = 0.5F / 100;
  const auto got = diagnosis_of(checkpoint, {{"proj", integer(8, input, weight)}}, folder);
  ASSERT_EQ(got.layers.size(), 1U);
  const LayerDiagnosis& layer = got.layers[0];
  EXPECT_EQ(layer.layer, "proj");

  std::vector<float> frames;
  for (const FeatureSequence& sequence : folder.sequences) {
    const auto all = sequence.frames.values<float>().subspan(12 * 19, 8 * 19);
    frames.insert(frames.end(), all.begin(), all.end());
  }
  const auto inputs = quality(frames, double{input});
  EXPECT_DOUBLE_EQ(layer.input.saturated, inputs.first);
  EXPECT_GT(inputs.first, 0.1);
  EXPECT_NEAR(layer.input.sqnr, inputs.second, 1e-4);  // values rounded to floats: 2^-24 of each
  const auto weights =
      quality(checkpoint.weights.at("proj.weight").values<float>(), double{weight});
  EXPECT_DOUBLE_EQ(layer.weight.saturated, weights.first);
  EXPECT_GT(weights.first, 0.01);
  EXPECT_NEAR(layer.weight.sqnr, weights.second, 1e-4);
  EXPECT_EQ(layer.input.bits, 8);
  EXPECT_EQ(layer.input.scale_least, double{input});
  EXPECT_EQ(layer.weight.scale_most, double{weight});
}

TEST(RegressorDiagnosis, CodesThatWrapRoundAreSaturatedByTheMeanScale) {
  const RegressorCheckpoint checkpoint = checkpoint_of(Variant::slim);
  FeatureFolder folder = random_folder(checkpoint.config, 1);
  for (FeatureSequence& sequence : folder.sequences) {
    sequence.ends = {20};
    for (float& x : sequence.frames.mutable_values<float>()) x = 100;
  }
  LayerRounding rounding{RegressorBackend::extension, 8, std::vector<float>(19, 1.0F), {0.02F}, 20};
  rounding.input[0] = 0.5F;
  rounding.input[1] = 1.5F;
  const auto of = [&] {
    return diagnosis_of(checkpoint, {{"proj", rounding}}, folder).layers.at(0);
  };
  EXPECT_EQ(of().input.saturated, 0) << "code 120 for all";
  EXPECT_EQ(of().input.sqnr, std::numeric_limits<double>::infinity());
  rounding.input_zero = 30;
  EXPECT_EQ(of().input.saturated, 1) << "code 130";
  EXPECT_NEAR(of().input.sqnr, 20 * std::log10(100.0 / 256), 1e-9) << "wrapped by 256";
}

TEST(RegressorDiagnosis, ExactValuesHaveAnInfiniteRatio) {
  const RegressorCheckpoint checkpoint = checkpoint_of(Variant::slim);
  FeatureFolder folder = random_folder(checkpoint.config, 1);
  for (FeatureSequence& sequence : folder.sequences) {
    for (float& x : sequence.frames.mutable_values<float>()) x = std::nearbyint(x * 4) / 4;
  }
  const auto got = diagnosis_of(checkpoint, {{"proj", integer(16, 0.25F, 0.1F)}}, folder);
  EXPECT_EQ(got.layers.at(0).input.sqnr, std::numeric_limits<double>::infinity());
  EXPECT_EQ(got.layers.at(0).input.saturated, 0);
}

TEST(RegressorDiagnosis, TheFirstDivergentSiteIsBehindTheLayerThatIsBad) {
  for (const Variant variant : {Variant::slim, Variant::origin}) {
    const RegressorCheckpoint checkpoint = checkpoint_of(variant);
    const FeatureFolder folder = random_folder(checkpoint.config, 1);
    const Regressor reference = build_regressor(checkpoint);
    const std::string last = variant == Variant::slim ? "blocks.1.ssm.dt_proj" : "blocks.1.dt_proj";
    for (const auto& [bad, first] :
         {std::pair<std::string, std::string>{"proj", "patch_embedding:input"},
          {"patch_embedding", "blocks.0.norm:input"},
          {"blocks.0.out_proj", "blocks.1.norm:input"},
          {last, "blocks.1.out_proj:input"},
          {"output_layer", "head:input"},
          {"head", "head:output"}}) {
      // Codes of 1/4: far from 1 % of normal values.
      const auto got = diagnosis_of(checkpoint, {{bad, integer(16, 0.25F, 0.25F)}}, folder);
      EXPECT_EQ(got.first_divergent, first) << bad;
      ASSERT_EQ(got.divergence.size(), reference.sites().sites().size());
      for (size_t i = 0; i < got.divergence.size(); ++i) {
        const SiteDivergence& site = got.divergence[i];
        EXPECT_EQ(site.site, reference.sites().sites()[i].name) << "in the order of the network";
        if (site.site == first) break;
        EXPECT_EQ(site.relative, 0) << site.site << " before " << bad;
        EXPECT_EQ(site.largest, 0) << site.site << " before " << bad;
      }
    }
    EXPECT_EQ(diagnosis_of(checkpoint, {}, folder).first_divergent, std::nullopt);
  }
}

TEST(RegressorDiagnosis, DivergenceIsTheRelativeErrorOfAllWindows) {
  const RegressorCheckpoint checkpoint = checkpoint_of(Variant::slim);
  const FeatureFolder folder = random_folder(checkpoint.config, 1);
  const RegressorRounding rounding{{"blocks.0.in_proj", integer(8, 0.05F, 0.02F)}};
  const AnyRegressor reference = build_regressor(checkpoint);
  const AnyRegressor model = build_regressor(checkpoint, rounding);
  const auto y = predict_folder({&reference, &model}, folder, Threads(1)).predicted;
  double error = 0, signal = 0, largest = 0;
  for (size_t i = 0; i < y[0].values<float>().size(); ++i) {
    const double f = y[0].values<float>()[i], off = double{y[1].values<float>()[i]} - f;
    error += off * off;
    signal += f * f;
    largest = std::max(largest, std::abs(off));
  }
  const auto got = diagnosis_of(checkpoint, rounding, folder).divergence.back();
  EXPECT_EQ(got.site, "head:output");
  EXPECT_NEAR(got.relative, std::sqrt(error / signal), 1e-12);
  EXPECT_EQ(got.largest, largest);
  EXPECT_GT(largest, 0);
}

TEST(RegressorDiagnosis, AnIntegerNetworkIsDiagnosedLikeARoundedOne) {
  const RegressorCheckpoint checkpoint = checkpoint_of(Variant::slim);
  const FeatureFolder folder = random_folder(checkpoint.config, 1);
  const RegressorTensors tensors(checkpoint.config, checkpoint.weights);
  const auto statistics = measure_regressor(build_regressor(checkpoint), folder, 0, Threads(2));
  RegressorQuantization how;
  how.backend = RegressorBackend::integer;
  how.bits = 16;
  how.all = true;
  const auto formats = decide_formats(checkpoint.config, tensors, how, statistics, {});
  const auto got = diagnose(checkpoint, IntegerRegressor(checkpoint.config, tensors, formats),
                            rounding_of(formats), folder);
  EXPECT_EQ(got.layers.size(), 10U);
  for (const LayerDiagnosis& layer : got.layers) {
    EXPECT_EQ(layer.input.saturated, 0) << layer.layer;
    EXPECT_EQ(layer.weight.saturated, 0) << layer.layer;
    // 12·(2^15·r)² for values of r times the range in root mean square: above 65 dB from 1/64 on.
    EXPECT_GT(layer.input.sqnr, 65) << layer.layer;
    EXPECT_GT(layer.weight.sqnr, 65) << layer.layer;
  }
  EXPECT_EQ(got.first_divergent, std::nullopt);
  EXPECT_EQ(got.divergence.size(), RegressorSites(checkpoint.config).list.sites().size());
  for (const SiteDivergence& site : got.divergence) EXPECT_GT(site.relative, 0) << site.site;
}

TEST(RegressorSensitivity, TheLayerWithAnOutlierWeightIsTheWorst) {
  RegressorCheckpoint checkpoint = checkpoint_of(Variant::slim);
  // A feature that is always 0 and a weight of 300 that multiplies it: no difference to floats, but
  // its row's other weights, some 0.3 large, are below half a code of 8 bits, 300/127.
  const auto replace = [&](const std::string& name, auto change) {
    Tensor tensor = checkpoint.weights.take(name).to_f32();
    Tensor copy = Tensor::of<float>(tensor.shape(), tensor.values<float>());
    change(copy.mutable_values<float>());
    checkpoint.weights.add(name, copy);
  };
  replace("backbone.output_layer_flat.weight",
          [](std::span<float> w) { std::ranges::fill(w.first(18 * 3), 0.0F); });
  replace("backbone.output_layer_flat.bias", [](std::span<float> b) { b[0] = 0; });
  replace("head.weight", [](std::span<float> w) { w[0] = 300; });
  const FeatureFolder folder = random_folder(checkpoint.config, 1);
  const auto statistics = measure_regressor(build_regressor(checkpoint), folder, 0, Threads(2));
  std::vector<std::pair<int64_t, int64_t>> progress;
  const auto got =
      measure_sensitivity(checkpoint, statistics, {}, folder, Threads(2),
                          [&](int64_t done, int64_t total) { progress.emplace_back(done, total); });
  ASSERT_EQ(got.size(), 20U);
  std::set<std::pair<std::string, int>> listed;
  std::map<std::string, double> wide;
  for (const LayerSensitivity& each : got) {
    listed.emplace(each.layer, each.bits);
    EXPECT_EQ(each.errors.count, folder.windows());
    if (each.bits == 16) wide[each.layer] = each.against_float.rms_deviation;
  }
  EXPECT_EQ(listed.size(), 20U);
  for (const LayerSensitivity& each : got) {
    if (each.bits == 16) continue;
    EXPECT_LT(10 * wide.at(each.layer), each.against_float.rms_deviation) << each.layer;
  }
  const auto worst = std::ranges::max_element(
      got, {}, [](const auto& each) { return each.against_float.rms_deviation; });
  EXPECT_EQ(worst->layer, "head");
  EXPECT_EQ(worst->bits, 8);
  EXPECT_EQ(progress.size(), 20U);
  EXPECT_EQ(progress.back(), (std::pair<int64_t, int64_t>{20, 20}));
}

}  // namespace
}  // namespace scute::diagnosis_test
