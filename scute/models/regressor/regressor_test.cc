#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <limits>
#include <map>

#include "scute/base/error.h"
#include "scute/base/random.h"
#include "scute/models/regressor/predict.h"
#include "scute/models/regressor/test_regressors.h"

namespace scute::regressor_test {
namespace {

using namespace testing_regressors;
using testing::AllOf;
using testing::HasSubstr;
using Variant = RegressorConfig::Variant;

Regressor model_of(const RegressorConfig& config) { return {config, tensors_of(config)}; }

class Regressors : public testing::TestWithParam<Variant> {};
INSTANTIATE_TEST_SUITE_P(Both, Regressors, testing::Values(Variant::slim, Variant::origin),
                         [](const auto& tested) {
                           return tested.param == Variant::slim ? "slim" : "origin";
                         });

TEST_P(Regressors, AWindowHasTheSameBitsInAnyBatchOnAnyNumberOfThreads) {
  const Regressor model = model_of(small(GetParam()));
  const Tensor all = random_floats({150, 8, 19}, 1);  // more than two pieces of 64
  const Tensor together = predict_windows(model, all, Threads(1));
  for (const int threads : {2, 3, 4}) {
    EXPECT_TRUE(same_bits(together, predict_windows(model, all, Threads(threads)))) << threads;
  }
  const auto values = all.values<float>();
  for (const int64_t batch : {1, 2, 7, 64, 65}) {
    for (int64_t first = 0; first + batch <= 150; first += 31) {
      const auto part =
          values.subspan(static_cast<size_t>(first * 8 * 19), static_cast<size_t>(batch * 8 * 19));
      const Tensor alone =
          predict_windows(model, Tensor::of<float>({batch, 8, 19}, part), Threads(2));
      const auto expected = together.values<float>().subspan(static_cast<size_t>(2 * first),
                                                             static_cast<size_t>(2 * batch));
      EXPECT_TRUE(same_bits(alone, Tensor::of<float>({batch, 2}, expected))) << batch;
    }
  }
}

TEST_P(Regressors, WindowsOfASequenceHaveTheBitsOfWindowsAlone) {
  const Regressor model = model_of(small(GetParam()));
  const Tensor frames = random_floats({300, 19}, 2);
  const auto matrix = frames.matrix<float>();
  // Overlapping, apart, out of order, repeated; frames 41 … 99 and 290 … in no window.
  std::vector<int64_t> ends{8, 9, 13, 41, 41, 290, 120, 108, 11};
  for (int64_t e = 130; e < 280; ++e) ends.push_back(e);
  Tensor copied(DType::f32, {std::ssize(ends), 8, 19});
  float* to = copied.mutable_values<float>().data();
  for (const int64_t end : ends) to = std::copy_n(matrix.row(end - 8), 8 * 19, to);
  const Tensor alone = predict_windows(model, copied, Threads(1));
  EXPECT_TRUE(same_bits(alone, predict(model, matrix, ends, Threads(2))));
  scute::Run run;
  EXPECT_TRUE(same_bits(alone, predict(model, matrix, ends, run)));
  EXPECT_NE(alone.values<float>()[0], alone.values<float>()[2]) << "windows differ";
}

/// Counts the rows that each site shows.
class CountRows : public Tap {
 public:
  bool wants(const Site&) const override { return true; }
  void see(const Site& site, MatView<const float> x) override {
    EXPECT_EQ(x.cols, site.shape.at(0)) << site.name;
    EXPECT_LE(x.rows, 64 * 3) << site.name;
    rows[site.name] += x.rows;
  }
  std::map<std::string, int64_t> rows;
};

TEST_P(Regressors, EachFrameIsProjectedOnceAndFramesOfNoWindowAreNotRead) {
  const Regressor model = model_of(small(GetParam()));
  Tensor frames = random_floats({200, 19}, 3);
  const float nan = std::numeric_limits<float>::quiet_NaN();
  for (const int64_t unread : {0, 1, 40, 59, 199}) {
    frames.mutable_matrix<float>().row(unread)[0] = nan;
  }
  std::vector<int64_t> ends;
  for (int64_t e = 10; e <= 40; ++e) ends.push_back(e);   // frames 2 … 39
  for (int64_t e = 68; e <= 199; ++e) ends.push_back(e);  // frames 60 … 198
  CountRows tap;
  scute::Run run(&tap);
  const Tensor got = predict(model, frames.matrix<float>(), ends, run);
  for (const float x : got.values<float>()) EXPECT_TRUE(std::isfinite(x));
  const auto windows = std::ssize(ends);
  EXPECT_EQ(tap.rows["proj:input"], 38 + 139);
  EXPECT_EQ(tap.rows["patch_embedding:input"], 38 + 139);
  EXPECT_EQ(tap.rows["blocks.1.in_proj:input"], 3 * windows);
  EXPECT_EQ(tap.rows["output_layer:input"], windows);
  EXPECT_EQ(tap.rows["head:input"], windows);
  EXPECT_TRUE(same_bits(got, predict(model, frames.matrix<float>(), ends, Threads(1))));
}

TEST_P(Regressors, SitesAreTheInputsOfTheLayersAndWhatFormatsAreNeededFor) {
  const bool slim = GetParam() == Variant::slim;
  const RegressorSites sites(small(GetParam()));
  std::vector<std::string> names;
  for (const Site& site : sites.list.sites()) names.push_back(site.name);
  std::vector<std::string> expected{"proj:input", "patch_embedding:input"};
  for (const std::string block : {"blocks.0.", "blocks.1."}) {
    for (const std::string site : {"norm", "in_proj", slim ? "dw_conv" : "conv1d", "z_act"}) {
      expected.push_back(block + site + ":input");
    }
    if (!slim) expected.push_back(block + "x_proj:input");
    expected.push_back(block + (slim ? "ssm.dt_proj:input" : "dt_proj:input"));
    expected.push_back(block + "out_proj:input");
  }
  expected.insert(expected.end(),
                  {"norm_f:input", "output_layer:input", "head:input", "head:output"});
  EXPECT_THAT(names, testing::UnorderedElementsAreArray(expected));
  // Those of a layer follow its input; the rest is in the order above but for z, which may come
  // before the convolution or behind it.
  std::erase_if(names, [](const auto& name) { return name.ends_with("z_act:input"); });
  std::erase_if(expected, [](const auto& name) { return name.ends_with("z_act:input"); });
  EXPECT_EQ(names, expected);
}

TEST(Regressor, SitesOfStepsThatAreNotThereAreNoSites) {
  RegressorConfig config = small(Variant::slim);
  config.gate = false;
  config.convolution = false;
  const RegressorSites sites(config);
  for (const Site& site : sites.list.sites()) {
    EXPECT_THAT(site.name, testing::Not(testing::AnyOf(HasSubstr("z_act"), HasSubstr("conv"))));
  }
}

TEST_P(Regressors, NoWindowsGiveNoPositions) {
  const Regressor model = model_of(small(GetParam()));
  EXPECT_EQ(predict(model, {nullptr, 0, 19}, {}, Threads(2)).shape(), (Shape{0, 2}));
  EXPECT_EQ(predict_windows(model, Tensor(DType::f32, {0, 8, 19}), Threads(1)).shape(),
            (Shape{0, 2}));
}

TEST_P(Regressors, EveryProblemOfTheTensorsIsListed) {
  const RegressorConfig config = small(GetParam());
  Weights weights = random_weights(config);
  weights.erase("head.bias");
  weights.take("backbone.norm_f.weight");
  weights.add("backbone.norm_f.weight", Tensor(DType::f32, {17}));
  weights.add("backbone.blocks.7.norm.weight", Tensor(DType::f32, {18}));
  const std::string error = error_of([&] { RegressorTensors(config, weights); });
  EXPECT_THAT(error, AllOf(HasSubstr("model.pt"), HasSubstr("3 problems"),
                           HasSubstr("missing head.bias (2)"),
                           HasSubstr("backbone.norm_f.weight has the shape (17), not (18)"),
                           HasSubstr("unknown tensor backbone.blocks.7.norm.weight (18)")));
}

TEST(Regressor, WindowsThatDoNotFitAreRefused) {
  const Regressor model = model_of(small(Variant::slim));
  const Tensor frames = random_floats({20, 19}, 1), narrow = random_floats({20, 18}, 1);
  const auto error = [&](const Tensor& x, std::vector<int64_t> ends) {
    return error_of([&] { predict(model, x.matrix<float>(), ends, Threads(1)); });
  };
  EXPECT_EQ(error(frames, {8, 20}), "");
  EXPECT_EQ(error(frames, {8, 7}),
            "windows: expected an end from 8 (K frames before it) to 20 (the number of frames), "
            "found 7");
  EXPECT_THAT(error(frames, {21}), HasSubstr("found 21"));
  EXPECT_THAT(error(frames, {-1}), HasSubstr("found -1"));
  EXPECT_THAT(error(narrow, {8}), HasSubstr("19 features each, as the model's Din says, found 18"));
}

TEST(Regressor, ConfigsThatMakeNoSenseAreRefused) {
  const auto error = [](auto change) {
    RegressorConfig config = small(Variant::slim);
    change(config);
    return error_of([&] { config.check("model.pt"); });
  };
  EXPECT_EQ(error([](RegressorConfig&) {}), "");
  EXPECT_EQ(error([](RegressorConfig& c) { c.stride = 0; }),
            "model.pt: expected frames from patch to patch (stride) from 1 to 16384, found 0");
  EXPECT_THAT(error([](RegressorConfig& c) { c.features = -1; }), HasSubstr("(Din)"));
  EXPECT_THAT(error([](RegressorConfig& c) { c.layers = 1 << 20; }), HasSubstr("(n_layer)"));
  EXPECT_EQ(error([](RegressorConfig& c) { c.patch = 9; }),
            "model.pt: expected patches that fit into a window of 8 frames, found patches of 9 "
            "frames");
  EXPECT_THAT(error([](RegressorConfig& c) { c.position_scale = NAN; }), HasSubstr("(pe_scale)"));
}

TEST(Regressor, ANanInOnePatchIsInTheMaximum) {
  RegressorConfig config = small(Variant::slim);
  config.pool = RegressorConfig::Pool::maximum;
  config.layers = 1;
  const Regressor model = model_of(config);
  for (const int64_t patch : {0, 1, 2}) {
    Tensor patches = random_floats({3, 18}, 1);
    patches.mutable_matrix<float>().row(patch)[4] = NAN;
    float got[2];
    scute::Run run;
    model.locate(run, patches.mutable_matrix<float>(), {got, 1, 2});
    EXPECT_TRUE(std::isnan(got[0]) && std::isnan(got[1])) << patch;
  }
}

TEST(Regressor, TheTableOfPositionsIsScaledAndAdded) {
  RegressorConfig config = small(Variant::slim);
  const Tensor constant(DType::f32, {1, 8, 19});
  const Tensor with = predict_windows(model_of(config), constant, Threads(1));
  config.position_scale = 0;
  const Tensor without = predict_windows(model_of(config), constant, Threads(1));
  config.positions = false;
  EXPECT_TRUE(same_bits(without, predict_windows(model_of(config), constant, Threads(1))));
  EXPECT_FALSE(same_bits(without, with));
}

}  // namespace
}  // namespace scute::regressor_test
