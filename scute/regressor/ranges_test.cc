#include "scute/regressor/ranges.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "scute/models/regressor/test_regressors.h"
#include "scute/regressor/test_scales.h"

namespace scute::ranges_test {
namespace {

using namespace testing_regressors;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::StartsWith;
using testing::ThrowsMessage;
using Method = RegressorMethod;
using Mode = RegressorQuantization::Mode;
using Backend = RegressorBackend;
using Pool = RegressorConfig::Pool;
using Variant = RegressorConfig::Variant;

RegressorQuantization all_of(Backend backend, int bits, Mode mode) {
  RegressorQuantization how;
  how.backend = backend;
  how.bits = bits;
  how.mode = mode;
  how.all = true;
  return how;
}

/// The same values at every site.
RegressorStatistics everywhere(const RegressorConfig& config, const std::vector<float>& values) {
  RegressorStatistics out;
  const RegressorSites sites(config);
  for (const Site& site : sites.list.sites()) out.emplace(site.name, statistic_of(values));
  return out;
}

class RegressorRanges : public testing::Test {
 protected:
  RegressorRounding rounding(const RegressorQuantization& how, const std::vector<float>& values,
                             const RegressorRangeOptions& options = {}) const {
    return decide_rounding(config_, tensors_, how, everywhere(config_, values), options);
  }
  /// The input scale of proj in integers.
  float scale(int bits, const std::vector<float>& values, const RegressorRangeOptions& options,
              Mode mode = Mode::dynamic) const {
    return rounding(all_of(Backend::integer, bits, mode), values, options).at("proj").input.at(0);
  }
  RegressorFormats formats(int bits, Mode mode, const std::vector<float>& values) const {
    return decide_formats(config_, tensors_, all_of(Backend::integer, bits, mode),
                          everywhere(config_, values), {});
  }

  const RegressorConfig config_ = small(Variant::slim);
  const RegressorTensors tensors_ = tensors_of(config_);
};

TEST_F(RegressorRanges, MaxabsIsTheLargestMagnitudeTimesTheHeadroom) {
  const std::vector<float> values{-3, 1, 2};
  EXPECT_FLOAT_EQ(scale(8, values, {Method::maxabs, 1}), 3.0F / 127);
  EXPECT_FLOAT_EQ(scale(8, values, {Method::maxabs, 1.25}), 3.75F / 127);
  // 16 bits have room for four times the margin.
  EXPECT_FLOAT_EQ(scale(16, values, {Method::maxabs, 1}), 3.0F / 32767);
  EXPECT_FLOAT_EQ(scale(16, values, {Method::maxabs, 1.25}), 6.0F / 32767);
  EXPECT_FLOAT_EQ(scale(8, {1, 4}, {Method::maxabs, 1}), 4.0F / 127);
}

TEST_F(RegressorRanges, MaxabsLeavesOutWhatIsNoNumberAndTheOthersRefuseIt) {
  constexpr float kInfinite = std::numeric_limits<float>::infinity();
  const std::vector<float> values{-3, 1, kInfinite, std::numeric_limits<float>::quiet_NaN()};
  EXPECT_FLOAT_EQ(scale(8, values, {Method::maxabs, 1}), 3.0F / 127);
  for (const Method method : {Method::p99, Method::mse}) {
    EXPECT_THAT(
        [&] {
          scale(8, values, {method, 1});
        },
        ThrowsMessage<Error>(AllOf(HasSubstr("proj:input"), HasSubstr("1 NaN"))));
  }
}

TEST_F(RegressorRanges, P99IsThe99thPercentileOfTheMagnitude) {
  std::vector<float> values;
  for (int i = 1; i <= 1000; ++i) values.push_back(static_cast<float>(i % 3 == 0 ? -i : i));
  // A bucket of the histogram reads back within 2^-9.
  EXPECT_NEAR(scale(8, values, {Method::p99, 1}) * 127, 990, 990 * 0x1p-9);
  EXPECT_NEAR(scale(8, values, {Method::p99, 1.25}) * 127, 1237.5, 1237.5 * 0x1p-9);
  EXPECT_NEAR(scale(16, values, {Method::p99, 1.25}) * 32767, 1980, 1980 * 0x1p-9);
}

TEST_F(RegressorRanges, MseIsTheRangeOfTheLeastSquaredError) {
  Random random(1);
  std::vector<float> values;
  for (int i = 0; i < 20000; ++i) values.push_back(static_cast<float>(random.normal()));
  values.push_back(40);
  const auto error = [&](float s) {
    const Grid grid{{8, true}, s, 0};
    double sum = 0;
    for (const float x : values) sum += std::pow(double{x} - double{grid.round(x)}, 2);
    return sum;
  };
  double least = error(40.0F / 127);
  for (int i = 1; i < 100; ++i) {
    least = std::min(least, error(40.0F / 127 * static_cast<float>(i) / 100));
  }
  const float got = scale(8, values, {Method::mse, 1});
  EXPECT_LT(got, 39.0F / 127) << "the outlier is cut";
  EXPECT_LE(error(got), 1.02 * least);  // of a search over buckets
}

TEST_F(RegressorRanges, FixedNeedsNoStatisticsAnd16Bits) {
  const auto how = all_of(Backend::integer, 16, Mode::fixed);
  const auto layers = decide_rounding(config_, tensors_, how, {}, {});
  EXPECT_EQ(layers.size(), 10U);
  for (const auto& [name, layer] : layers) {
    EXPECT_THAT(layer.input, ElementsAre(0x1p-8F)) << name;
    EXPECT_THAT(layer.weight, ElementsAre(0x1p-8F)) << name;
  }
  const RegressorFormats all = decide_formats(config_, tensors_, how, {}, {});
  for (const auto& [name, layer] : all.layers) {
    EXPECT_EQ(layer.input.scale, 0x1p-8F) << name;
    EXPECT_EQ(layer.bias, 0x1p-8F) << name;
  }
  for (const auto& [name, grid] : all.values) EXPECT_EQ(grid.scale, 0x1p-8F) << name;
  EXPECT_EQ(error_of([&] { IntegerRegressor(config_, tensors_, all); }), "");
  const auto narrow = all_of(Backend::integer, 8, Mode::fixed);
  EXPECT_THAT(error_of([&] { decide_formats(config_, tensors_, narrow, {}, {}); }),
              AllOf(StartsWith("fixed88"), HasSubstr("16 bits"), HasSubstr("found 8")));
  EXPECT_THAT(error_of([&] { decide_rounding(config_, tensors_, narrow, {}, {}); }),
              StartsWith("fixed88"));
}

/// Whether `scale` is a power of two that keeps `magnitude`, and half of it would not.
void expect_tight_power(float scale, double magnitude, int bits, const std::string& name) {
  const double last = std::ldexp(1.0, bits - 1) - 1;
  int exponent = 0;
  EXPECT_EQ(std::frexp(scale, &exponent), 0.5F) << name;
  EXPECT_GE(last * double{scale}, magnitude) << name;
  EXPECT_LT(last * double{scale} / 2, magnitude) << name;
}

TEST_F(RegressorRanges, PerLayerScalesAreTheSmallestPowersOfTwoThatKeepTheRange) {
  for (const int bits : {8, 16}) {
    // 1.27: exactly 127 codes of 0.01, no power; 127/128·2: codes of 2^-6 at 8 bits, exactly.
    for (const float most : {1.27F, 127.0F / 64, 0.03F, 900.0F}) {
      const double kept = (bits == 8 ? 1.25 : 2.0) * double{most};
      const std::vector<float> values{-most, most / 3};
      for (const auto& [name, layer] :
           rounding(all_of(Backend::integer, bits, Mode::per_layer), values)) {
        expect_tight_power(layer.input.at(0), kept, bits, name);
        ASSERT_EQ(layer.weight.size(), 1U) << name;
      }
      const float tight = scale(bits, values, {Method::maxabs, 1}, Mode::per_layer);
      expect_tight_power(tight, double{most}, bits, "no headroom");
      const RegressorFormats all = formats(bits, Mode::per_layer, values);
      for (const RegressorProduct& product : regressor_products(config_, tensors_)) {
        const auto& layer = all.layers.at(product.layer);
        expect_tight_power(layer.input.scale, kept, bits, product.layer);
        double largest = 0;
        for (const float w : product.weight.values<float>()) {
          largest = std::max(largest, std::abs(double{w}));
        }
        expect_tight_power(layer.weight.at(0), largest, bits, product.layer + " weights");
      }
      expect_tight_power(all.values.at("norm_f:input").scale, 2.0 * double{most}, 16, "residual");
      EXPECT_EQ(error_of([&] { IntegerRegressor(config_, tensors_, all); }), "") << most;
    }
  }
}

TEST_F(RegressorRanges, DynamicWeightsHaveOneScalePerOutput) {
  for (const int bits : {8, 16}) {
    const auto layers = rounding(all_of(Backend::integer, bits, Mode::dynamic), {-1, 1});
    const float last = static_cast<float>((1 << (bits - 1)) - 1);
    for (const RegressorProduct& product : regressor_products(config_, tensors_)) {
      const auto& scales = layers.at(product.layer).weight;
      ASSERT_EQ(std::ssize(scales), product.weight.dim(0));
      for (int64_t o = 0; o < product.weight.dim(0); ++o) {
        float most = 0;
        for (int64_t k = 0; k < product.weight.dim(1); ++k) {
          most = std::max(most, std::abs(product.weight.matrix<float>().row(o)[k]));
        }
        EXPECT_FLOAT_EQ(scales[static_cast<size_t>(o)], most / last) << product.layer;
      }
    }
  }
}

TEST_F(RegressorRanges, InputsHaveTheBitsAskedForAndAllElse16) {
  const RegressorFormats all = formats(8, Mode::dynamic, {-2, 2});
  for (const auto& [name, layer] : all.layers) {
    EXPECT_EQ(layer.input.spec.bits, name.ends_with("dw_conv") ? 16 : 8) << name;
  }
  for (const auto& [name, grid] : all.values) EXPECT_EQ(grid.spec.bits, 16) << name;
}

TEST_F(RegressorRanges, FormatsOfEveryKindOfModelBuildOne) {
  for (const Variant variant : {Variant::slim, Variant::origin}) {
    for (const Pool pool : {Pool::flat, Pool::average, Pool::maximum}) {
      for (const bool gate : {true, false}) {
        RegressorConfig config = small(variant);
        config.pool = pool;
        config.gate = gate;
        // Also numbers beyond what a sigmoid's format has.
        for (const std::vector<float>& values :
             std::vector<std::vector<float>>{{-2, 3}, {-1e6F, 1e6F}}) {
          for (const Mode mode : {Mode::fixed, Mode::dynamic, Mode::per_layer}) {
            const auto all =
                decide_formats(config, tensors_of(config), all_of(Backend::integer, 16, mode),
                               everywhere(config, values), {});
            EXPECT_EQ(error_of([&] { IntegerRegressor(config, tensors_of(config), all); }), "")
                << values[0];
          }
        }
      }
    }
  }
}

TEST_F(RegressorRanges, SitesWithoutValuesAreRefusedByNameAllAtOnce) {
  const auto how = all_of(Backend::integer, 8, Mode::dynamic);
  const std::vector<std::string> names{"head:input",          "blocks.1.dw_conv:input",
                                       "blocks.0.norm:input", "blocks.1.z_act:input",
                                       "norm_f:input",        "head:output"};
  auto nothing = everywhere(config_, {-1, 1}), missing = nothing;
  for (const std::string& name : names) {
    nothing.at(name) = statistic_of(std::vector<float>{NAN, NAN});
    missing.erase(name);
  }
  const auto refused = [&](const RegressorStatistics& statistics) {
    return error_of([&] { decide_formats(config_, tensors_, how, statistics, {}); });
  };
  EXPECT_THAT(refused(nothing), StartsWith("6 of 18 sites cannot be decided"));
  EXPECT_THAT(refused(missing), HasSubstr("6 problems: "));
  for (const std::string& name : names) {
    EXPECT_THAT(refused(nothing), HasSubstr("\n  " + name + ": "));
    EXPECT_THAT(refused(missing), HasSubstr("missing " + name));
  }
}

TEST_F(RegressorRanges, APlanGivesInputsTheirBitsAndValues16WithMoreRoom) {
  RegressorQuantization how = all_of(Backend::integer, 8, Mode::dynamic);
  const auto seen = everywhere(config_, {-3, 1, 2});
  Plan plan = decide_regressor(seen, how, {Method::p99, 1.25});
  const auto expect = [&](const char* site, const char* policy, int bits, double lo) {
    const Decision& decision = plan.sites.at(site);
    EXPECT_EQ(decision.policy, policy) << site;
    EXPECT_EQ(decision.grid.bits, bits) << site;
    EXPECT_EQ(decision.lo, lo) << site;
  };
  expect("proj:input", "percentile", 8, -3.75);
  for (const char* site :
       {"blocks.0.norm:input", "blocks.1.z_act:input", "norm_f:input", "blocks.1.dw_conv:input"}) {
    expect(site, "minmax", 16, -6);
  }
  expect("head:output", "minmax", 16, -12);
  how.bits = 16;
  plan = decide_regressor(seen, how, {Method::maxabs, 1.25});
  expect("proj:input", "minmax", 16, -6);
  // The extension's 8-bit codes span what was seen, whatever the method.
  plan = decide_regressor(seen, all_of(Backend::extension, 8, Mode::dynamic), {Method::mse, 1.25});
  expect("head:input", "minmax", 8, -3.75);
  EXPECT_EQ(plan.sites.at("patch_embedding:input").policy, "mse");
  EXPECT_TRUE(of_regressor(seen));
  EXPECT_FALSE(of_regressor({}));
}

TEST_F(RegressorRanges, APlanEditedByHandIsObeyed) {
  const auto how = all_of(Backend::integer, 8, Mode::dynamic);
  const auto seen = everywhere(config_, {-3, 1, 2});
  const auto made = [&](const Plan& plan) {
    ModelRanges ranges("m", RegressorSites(config_).list, plan);
    return decide_formats(config_, tensors_, how, ranges);
  };
  const Plan plan = decide_regressor(seen, how, {});
  EXPECT_EQ(made(plan), decide_formats(config_, tensors_, how, seen, {}));
  for (const auto& [site, decision] : plan.sites) {
    Plan edited = plan;
    edited.sites.at(site).lo = -1000;
    EXPECT_FALSE(made(edited) == made(plan)) << site << " changes nothing";
  }
  Plan edited = plan;
  edited.sites.at("proj:input").lo = -1.27;
  edited.sites.at("proj:input").hi = 1;
  EXPECT_FLOAT_EQ(made(edited).layer("proj").input.scale, 0.01F);
  // u is an input of 8 bits and a value of 16, which has the range measured and a value's margin.
  const std::string u = "blocks.0.ssm.dt_proj:input";
  EXPECT_FLOAT_EQ(made(plan).value("blocks.0.u_act:output").scale, 6.0F / 32767);
  edited = plan;
  edited.sites.at(u).before_lo = -30;
  EXPECT_FLOAT_EQ(made(edited).value("blocks.0.u_act:output").scale, 60.0F / 32767);
  EXPECT_EQ(made(edited).layer("blocks.0.ssm.dt_proj").input.scale,
            made(plan).layer("blocks.0.ssm.dt_proj").input.scale);
}

TEST_F(RegressorRanges, APlanForOtherBitsIsRefusedWithAllItsSites) {
  const auto seen = everywhere(config_, {-3, 1, 2});
  Plan plan = decide_regressor(seen, all_of(Backend::integer, 16, Mode::dynamic), {});
  plan.sites.at("norm_f:input").grid.bits = 8;
  plan.sites.at("head:output").grid.symmetric = false;
  ModelRanges ranges("m", RegressorSites(config_).list, plan);
  EXPECT_THAT(error_of([&] {
                decide_formats(config_, tensors_, all_of(Backend::integer, 8, Mode::dynamic),
                               ranges);
              }),
              AllOf(HasSubstr("proj:input was decided for 16 bits; the inputs of layers are to "
                              "have 8, symmetric, (scute decide --bits 8)"),
                    HasSubstr("norm_f:input was decided for 8 bits; values between layers have 16"),
                    HasSubstr("head:output was decided for 16 bits, asymmetric")));
}

TEST_F(RegressorRanges, ExtensionInputsAt8BitsAreAsymmetric) {
  const auto layers =
      rounding(all_of(Backend::extension, 8, Mode::dynamic), {-1, 3}, {Method::maxabs, 1});
  EXPECT_FLOAT_EQ(layers.at("proj").input.at(0), 4.0F / 255);
  EXPECT_EQ(layers.at("proj").input_zero, 64);  // 63.75
  EXPECT_FLOAT_EQ(layers.at("patch_embedding").input.at(0), 3.0F / 127);
  EXPECT_EQ(layers.at("patch_embedding").input_zero, 0);
  EXPECT_FALSE(layers.contains("output_layer")) << "the flat layer is never rounded there";
}

TEST(RegressorMethods, HaveNames) {
  for (const Method method : {Method::maxabs, Method::p99, Method::mse}) {
    EXPECT_EQ(parse_regressor_method(name_of(method)), method);
  }
  EXPECT_THAT(error_of([] { parse_regressor_method("p98"); }),
              AllOf(HasSubstr("maxabs, p99 or mse"), HasSubstr("\"p98\"")));
}

}  // namespace
}  // namespace scute::ranges_test
