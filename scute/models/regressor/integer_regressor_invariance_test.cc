// What the integer network does not depend on, what its formats must be, and how close it is to the
// float network.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <map>

#include "scute/kernels/test_targets.h"
#include "scute/models/regressor/predict.h"
#include "scute/models/regressor/test_regressors.h"

namespace scute::integer_regressor_invariance_test {
namespace {

using namespace testing_regressors;
using testing::AllOf;
using testing::HasSubstr;
using testing::StartsWith;
using Pool = RegressorConfig::Pool;
using Variant = RegressorConfig::Variant;

IntegerRegressor model_of(const RegressorConfig& config, FormatKind kind, int bits) {
  return {config, tensors_of(config), formats_of(config, kind, bits)};
}

class IntegerRegressors : public testing::TestWithParam<std::tuple<Variant, int>> {
 protected:
  RegressorConfig config() const { return small(std::get<0>(GetParam())); }
  int bits() const { return std::get<1>(GetParam()); }
  IntegerRegressor model() const { return model_of(config(), FormatKind::dynamic, bits()); }
};
INSTANTIATE_TEST_SUITE_P(, IntegerRegressors,
                         testing::Combine(testing::Values(Variant::slim, Variant::origin),
                                          testing::Values(8, 16)),
                         [](const auto& tested) {
                           return fmt::format(
                               "{}_{}_bits",
                               std::get<0>(tested.param) == Variant::slim ? "slim" : "origin",
                               std::get<1>(tested.param));
                         });

TEST_P(IntegerRegressors, EveryInstructionSetGivesTheSameBits) {
  const Tensor windows = random_floats({70, 8, 19}, 1);
  std::vector<Tensor> results;
  for (const int64_t target : hwy::SupportedAndGeneratedTargets()) {
    hwy::SetSupportedTargetsForTest(target);
    results.push_back(predict_windows(model(), windows, Threads(1)));
    hwy::SetSupportedTargetsForTest(0);
    EXPECT_TRUE(same_bits(results[0], results.back())) << hwy::TargetName(target);
  }
  EXPECT_GE(results.size(), 1U);
}

TEST_P(IntegerRegressors, AWindowHasTheSameBitsInAnyBatchOnAnyNumberOfThreads) {
  const IntegerRegressor tested = model();
  const Tensor all = random_floats({150, 8, 19}, 1);  // more than two pieces of 64
  const Tensor together = predict_windows(tested, all, Threads(1));
  for (const int threads : {2, 3, 4}) {
    EXPECT_TRUE(same_bits(together, predict_windows(tested, all, Threads(threads)))) << threads;
  }
  const auto values = all.values<float>();
  for (const int64_t batch : {1, 7, 64, 65}) {
    for (int64_t first = 0; first + batch <= 150; first += 31) {
      const auto part =
          values.subspan(static_cast<size_t>(first * 8 * 19), static_cast<size_t>(batch * 8 * 19));
      const Tensor alone =
          predict_windows(tested, Tensor::of<float>({batch, 8, 19}, part), Threads(2));
      const auto expected = together.values<float>().subspan(static_cast<size_t>(2 * first),
                                                             static_cast<size_t>(2 * batch));
      EXPECT_TRUE(same_bits(alone, Tensor::of<float>({batch, 2}, expected))) << batch;
    }
  }
}

TEST_P(IntegerRegressors, WindowsOfASequenceInAnyOrderHaveTheBitsOfWindowsAlone) {
  const IntegerRegressor tested = model();
  const Tensor frames = random_floats({300, 19}, 2);
  const auto matrix = frames.matrix<float>();
  std::vector<int64_t> ends{8, 9, 13, 41, 41, 290, 120, 108, 11};
  for (int64_t e = 130; e < 280; ++e) ends.push_back(e);
  Tensor copied(DType::f32, {std::ssize(ends), 8, 19});
  float* to = copied.mutable_values<float>().data();
  for (const int64_t end : ends) to = std::copy_n(matrix.row(end - 8), 8 * 19, to);
  const Tensor alone = predict_windows(tested, copied, Threads(1));
  EXPECT_TRUE(same_bits(alone, predict(tested, matrix, ends, Threads(2))));
  scute::Run run;
  EXPECT_TRUE(same_bits(alone, predict(tested, matrix, ends, run)));
  EXPECT_NE(alone.values<float>()[0], alone.values<float>()[2]) << "windows differ";
}

/// Checks that what each site shows stands on its grid.
class OnGrid : public Tap {
 public:
  explicit OnGrid(const RegressorFormats& formats) : formats_(formats) {}
  bool wants(const Site&) const override { return true; }
  void see(const Site& site, MatView<const float> x) override {
    EXPECT_EQ(x.cols, site.shape.at(0)) << site.name;
    rows[site.name] += x.rows;
    const auto layer = formats_.layers.find(site.name.substr(0, site.name.rfind(':')));
    const bool input = site.name.ends_with(":input") && layer != formats_.layers.end();
    const auto value = formats_.values.find(site.name);
    if (!input && value == formats_.values.end()) return;
    const Grid& grid = input ? layer->second.input : value->second;
    ++checked;
    for (int64_t r = 0; r < x.rows; ++r) {
      for (int64_t c = 0; c < x.cols; ++c) {
        EXPECT_EQ(x.row(r)[c], grid.round(x.row(r)[c])) << site.name;
      }
    }
  }
  std::map<std::string, int64_t> rows;
  int checked = 0;

 private:
  const RegressorFormats& formats_;
};

TEST_P(IntegerRegressors, SitesShowValuesOfTheirFormatsAndDoNotChangeThem) {
  for (const Pool pool : {Pool::flat, Pool::average}) {
    RegressorConfig pooled = config();
    pooled.pool = pool;
    const IntegerRegressor tested = model_of(pooled, FormatKind::dynamic, bits());
    const Tensor frames = random_floats({40, 19}, 4);
    const std::vector<int64_t> ends{8, 9, 30};
    OnGrid tap(tested.formats());
    scute::Run run(&tap);
    const Tensor shown = predict(tested, frames.matrix<float>(), ends, run);
    EXPECT_TRUE(same_bits(shown, predict(tested, frames.matrix<float>(), ends, Threads(1))));
    EXPECT_EQ(tap.rows.size(), tested.sites().sites().size()) << "each site shows";
    EXPECT_EQ(tap.rows["proj:input"], 9 + 8) << "frames that windows share are shown once";
    EXPECT_EQ(tap.rows["blocks.1.in_proj:input"], 3 * 3);
    EXPECT_EQ(tap.rows["head:output"], 3);
    EXPECT_GE(tap.checked, 16);
    // What the float network shows, this one does: diagnosis compares the two.
    const RegressorSites sites(pooled);
    for (const Site& site : sites.list.sites()) {
      EXPECT_TRUE(tap.rows.contains(site.name)) << site.name;
    }
  }
}

TEST_P(IntegerRegressors, NanIsZeroAndTooLargeNumbersAreTheLargestCode) {
  const IntegerRegressor tested = model();
  const float infinity = std::numeric_limits<float>::infinity();
  Tensor windows = random_floats({3, 8, 19}, 6);
  const auto set = [&](float a, float b) {
    auto all = windows.mutable_values<float>();
    all[5] = a;
    all[200] = b;
    return predict_windows(tested, windows, Threads(1));
  };
  EXPECT_TRUE(same_bits(set(NAN, -NAN), set(0, 0)));
  EXPECT_TRUE(same_bits(set(infinity, -infinity), set(1e30F, -1e30F)));
  EXPECT_FALSE(same_bits(set(infinity, -infinity), set(0, 0)));
}

TEST(IntegerRegressor, At16BitsItIsCloseToTheFloatNetwork) {
  for (const Variant variant : {Variant::slim, Variant::origin}) {
    for (const Pool pool : {Pool::flat, Pool::average, Pool::maximum}) {
      RegressorConfig config = small(variant);
      config.pool = pool;
      // Half the frames' deviation: next to nothing leaves the ranges of formats_of.
      Tensor windows = random_floats({40, 8, 19}, 7);
      for (float& x : windows.mutable_values<float>()) x = std::clamp(x / 2, -1.9F, 1.9F);
      const Regressor floats(config, tensors_of(config));
      const Tensor expected = predict_windows(floats, windows, Threads(1));
      double squares = 0, size = 0;
      const Tensor got =
          predict_windows(model_of(config, FormatKind::powers, 16), windows, Threads(1));
      for (size_t i = 0; i < 80; ++i) {
        const double f = expected.values<float>()[i], off = double{got.values<float>()[i]} - f;
        squares += off * off / 80;
        size += f * f / 80;
      }
      std::printf("%s, pool %d: RMS %.1e of %.1e\n", variant == Variant::slim ? "slim" : "origin",
                  static_cast<int>(pool), std::sqrt(squares), std::sqrt(size));
      // Scales are 2^-15 to 2^-11; each of some 20 roundings on the way adds the third part of one.
      EXPECT_LE(std::sqrt(squares), 20 * 0x1p-11 / 3 * std::max(1.0, std::sqrt(size)));
      EXPECT_GT(squares, 0);
    }
  }
}

/// What building a network with changed formats says.
std::string refusal(const RegressorConfig& config,
                    const std::function<void(RegressorFormats&)>& change) {
  RegressorFormats formats = formats_of(config, FormatKind::powers, 16);
  change(formats);
  return error_of([&] { IntegerRegressor(config, tensors_of(config), formats); });
}

TEST(IntegerRegressor, EveryFormatIsNeeded) {
  for (const Variant variant : {Variant::slim, Variant::origin}) {
    RegressorConfig config = small(variant);
    config.pool = Pool::average;
    EXPECT_EQ(refusal(config, [](RegressorFormats&) {}), "");
    const RegressorFormats all = formats_of(config, FormatKind::powers, 16);
    for (const auto& item : all.layers) {
      const std::string error = refusal(config, [&](auto& f) { f.layers.erase(item.first); });
      EXPECT_THAT(error, StartsWith(item.first + ": expected")) << item.first;
    }
    for (const auto& item : all.values) {
      const std::string error = refusal(config, [&](auto& f) { f.values.erase(item.first); });
      EXPECT_THAT(error, StartsWith(item.first + ": expected")) << item.first;
    }
  }
}

TEST(IntegerRegressor, EveryFormatMustMakeSense) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  for (const Variant variant : {Variant::slim, Variant::origin}) {
    RegressorConfig config = small(variant);
    config.pool = Pool::average;
    const RegressorFormats all = formats_of(config, FormatKind::powers, 16);
    for (const Grid& bad :
         {Grid{{16, true}, 0, 0}, Grid{{16, true}, -1, 0}, Grid{{16, true}, nan, 0},
          Grid{{16, true}, std::numeric_limits<float>::infinity(), 0}, Grid{{16, true}, 0x1p-8F, 3},
          Grid{{16, false}, 0x1p-8F, 0}, Grid{{12, true}, 0x1p-8F, 0}}) {
      for (const auto& item : all.layers) {
        EXPECT_THAT(refusal(config, [&](auto& f) { f.layers[item.first].input = bad; }),
                    StartsWith(item.first));
      }
      for (const auto& item : all.values) {
        EXPECT_THAT(refusal(config, [&](auto& f) { f.values[item.first] = bad; }),
                    StartsWith(item.first));
      }
    }
    for (const auto& item : all.layers) {
      for (const std::vector<float>& bad :
           std::vector<std::vector<float>>{{}, {1, 1, 1}, {0}, {-1}, {nan}}) {
        EXPECT_THAT(refusal(config, [&](auto& f) { f.layers[item.first].weight = bad; }),
                    StartsWith(item.first))
            << bad.size();
      }
    }
    for (const auto& item : all.values) {
      EXPECT_THAT(refusal(config, [&](auto& f) { f.values[item.first].spec.bits = 8; }),
                  AllOf(StartsWith(item.first), HasSubstr("16 bits, found 8 bits")));
    }
    const std::string conv = variant == Variant::slim ? "blocks.1.dw_conv" : "blocks.1.conv1d";
    EXPECT_THAT(refusal(config, [&](auto& f) { f.layers[conv].input.spec.bits = 8; }),
                AllOf(StartsWith(conv), HasSubstr("16 bits, found 8")));
  }
}

TEST(IntegerRegressor, FormatsBeforeASigmoidArePowersOfTwoThatItsTableHas) {
  const RegressorConfig config = small(Variant::slim);
  for (const std::string name : {"u_act:input", "z_act:input", "ssm.dt_proj:output"}) {
    for (const float bad : {0.75F, 0x1p-15F, 2.0F, std::nextafter(0x1p-8F, 1.0F), 1.0F / 3}) {
      EXPECT_THAT(refusal(config, [&](auto& f) { f.values["blocks.1." + name].scale = bad; }),
                  AllOf(StartsWith("blocks.1." + name), HasSubstr("power of two")))
          << bad;
    }
    for (const float good : {0x1p-14F, 1.0F}) {
      EXPECT_EQ(refusal(config, [&](auto& f) { f.values["blocks.1." + name].scale = good; }), "");
    }
  }
  EXPECT_EQ(fraction_of({{16, true}, 0x1p-14F, 0}, "x"), 14);
  EXPECT_EQ(fraction_of({{16, true}, 1, 0}, "x"), 0);
}

TEST(IntegerRegressor, ABiasMustBeAWholeNumberOfSums) {
  const RegressorConfig config = small(Variant::slim);
  for (const std::string name : {"proj", "blocks.0.dw_conv", "blocks.1.ssm.dt_proj", "head"}) {
    const RegressorFormats::Layer layer = formats_of(config, FormatKind::powers, 16).layers[name];
    const float sum = layer.input.scale * layer.weight[0];
    for (const float bad : {sum / 2, 1.5F * sum, -4 * sum}) {
      EXPECT_THAT(refusal(config, [&](auto& f) { f.layers[name].bias = bad; }),
                  AllOf(StartsWith(name), HasSubstr("multiple of that of the sums")))
          << bad / sum;
    }
    EXPECT_EQ(refusal(config, [&](auto& f) { f.layers[name].bias = 3 * sum; }), "");
  }
  // A bias of 1 in sums of 2^-60.
  EXPECT_THAT(refusal(config,
                      [](auto& f) {
                        f.layers["head"].bias = 0;
                        f.layers["head"].input.scale = 0x1p-60F;
                      }),
              AllOf(StartsWith("head"), HasSubstr("below 2^52 times the scale")));
}

TEST(IntegerRegressor, BiasesAreRoundedToTheirFormat) {
  EXPECT_EQ(whole_bias(1.0F, 0, 0x1p-16, "b"), 65536);
  EXPECT_EQ(whole_bias(-0.75F, 0, 0.5, "b"), -2) << "half to even";
  EXPECT_EQ(whole_bias(1.0F / 512, 0x1p-8F, 0x1p-16, "b"), 0) << "half a code";
  EXPECT_EQ(whole_bias(3.0F / 512, 0x1p-8F, 0x1p-16, "b"), 512);
  EXPECT_EQ(whole_bias(500.0F, 0x1p-8F, 0x1p-16, "b"), 32767 * 256) << "cut to 16 bits";
  EXPECT_EQ(whole_bias(-500.0F, 0x1p-8F, 0x1p-16, "b"), -32768 * 256);
}

}  // namespace
}  // namespace scute::integer_regressor_invariance_test
