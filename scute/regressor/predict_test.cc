#include "scute/regressor/predict.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstdio>

#include "scute/models/regressor/test_regressors.h"
#include "scute/regressor/test_regressor_folders.h"

namespace scute::predict_test {
namespace {

using namespace testing_folders;
using testing::ElementsAre;
using testing_regressors::same_bits;
using Mode = RegressorQuantization::Mode;

const std::string kGolden = "tests/golden/regressor/";

RegressorCheckpoint golden(const std::string& name) {
  return read_regressor_checkpoint(kGolden + name + ".pt");
}

RegressorFormats formats_of(const RegressorCheckpoint& checkpoint, const FeatureFolder& folder,
                            int bits, Mode mode) {
  RegressorQuantization how;
  how.backend = RegressorBackend::integer;
  how.bits = bits;
  how.mode = mode;
  how.all = true;
  const auto statistics = measure_regressor(build_regressor(checkpoint), folder, 0, Threads(2));
  return decide_formats(checkpoint.config, RegressorTensors(checkpoint.config, checkpoint.weights),
                        how, statistics, {});
}

TEST(RegressorStage, EverySmallModelIsCloseToItselfIn16BitIntegers) {
  for (const char* name :
       {"slim", "slim_average", "slim_dwconv", "slim_gate_off", "slim_maximum", "slim_one_frame",
        "slim_positions", "slim_positions_odd", "slim_remainder", "origin", "origin_positions"}) {
    RegressorCheckpoint checkpoint = golden(name);
    const FeatureFolder seen = random_folder(checkpoint.config, 1);
    const FeatureFolder others = random_folder(checkpoint.config, 2);
    const AnyRegressor reference = build_regressor(checkpoint);
    for (const Mode mode : {Mode::dynamic, Mode::per_layer}) {
      RegressorCheckpoint stored = checkpoint;
      stored.formats = formats_of(checkpoint, seen, 16, mode);
      const AnyRegressor model = build_stored_regressor(stored);
      ASSERT_TRUE(std::holds_alternative<IntegerRegressor>(model));
      const auto y = predict_folder({&reference, &model}, others, Threads(2)).predicted;
      const auto off = compare(y[1].matrix<float>(), y[0].matrix<float>(),
                               positions_of(others).actual.matrix<float>());
      double size = 0;
      for (const float v : y[0].values<float>()) size = std::max(size, std::abs(double{v}));
      std::printf("%-20s RMS %.1e, largest %.1e of %.1f\n", name, off.rms_deviation,
                  off.largest_deviation, size);
      // Scales are the range over 2^14 (per layer: up to twice that), so that each of some 15
      // roundings on the way costs 2^-15 of it at most; σ's table ends at 0.9997, which costs as
      // much where logits are beyond 8.
      EXPECT_LE(off.rms_deviation, 15 * 0x1p-14 * std::max(1.0, size)) << name;
      EXPECT_GT(off.rms_deviation, 0) << name;
    }
  }
}

TEST(RegressorStage, RecordedFeaturesRunInIntegersToo) {
  const RegressorCheckpoint checkpoint = golden("slim");
  const auto folder = [&](FeatureRole role) {
    return read_feature_folder(
        "tests/golden/regressor_features",
        {.role = role, .features = checkpoint.config.features, .window = checkpoint.config.window});
  };
  RegressorCheckpoint stored = checkpoint;
  stored.formats = formats_of(checkpoint, folder(FeatureRole::train), 16, Mode::dynamic);
  const AnyRegressor reference = build_regressor(checkpoint),
                     model = build_stored_regressor(stored);
  const FeatureFolder eval = folder(FeatureRole::eval);
  const auto y = predict_folder({&reference, &model}, eval, Threads(1)).predicted;
  const auto off = compare(y[1].matrix<float>(), y[0].matrix<float>(),
                           positions_of(eval).actual.matrix<float>());
  std::printf("recorded: RMS %.1e\n", off.rms_deviation);
  EXPECT_LE(off.rms_deviation, 15 * 0x1p-14 * 4);
}

TEST(RegressorStage, StoredModelsAreWhatTheirFilesSay) {
  const auto floats = [](const AnyRegressor& model) {
    return std::holds_alternative<Regressor>(model);
  };
  const RegressorCheckpoint plain = golden("slim_dwconv"), rounded = golden("calibrated_python");
  const FeatureFolder folder = random_folder(plain.config, 1);
  const AnyRegressor a = build_stored_regressor(plain), b = build_stored_regressor(rounded);
  EXPECT_TRUE(floats(a) && floats(b));
  const auto y = predict_folder({&a, &b}, folder, Threads(1)).predicted;
  EXPECT_FALSE(same_bits(y[0], y[1])) << "rounded";
  const AnyRegressor c = build_regressor(rounded, stored_rounding(rounded));
  EXPECT_TRUE(same_bits(y[1], predict_folder({&c}, folder, Threads(1)).predicted[0]));
}

TEST(RegressorStage, PositionsAreThoseBehindTheWindowsSequenceAfterSequence) {
  const RegressorCheckpoint checkpoint = golden("slim");
  FeatureFolder folder = random_folder(checkpoint.config, 1);
  folder.sequences[0].ends = {30, 9, 9};
  folder.sequences[1].ends = {12};
  const PositionSet set = positions_of(folder);
  ASSERT_EQ(set.parts.size(), 2U);
  EXPECT_EQ(set.parts[0].name, "a");
  EXPECT_EQ(set.parts[0].count, 3);
  EXPECT_EQ(set.parts[1].first, 3);
  const auto truth = [&](size_t s, int64_t t) {
    const float* row = folder.sequences[s].positions.matrix<float>().row(t);
    return std::vector<float>{row[0], row[1]};
  };
  const auto got = [&](int64_t r) {
    const float* row = set.actual.matrix<float>().row(r);
    return std::vector<float>{row[0], row[1]};
  };
  EXPECT_EQ(got(0), truth(0, 30));
  EXPECT_EQ(got(1), truth(0, 9));
  EXPECT_EQ(got(2), truth(0, 9));
  EXPECT_EQ(got(3), truth(1, 12));
}

TEST(RegressorStage, EachModelPredictsEveryWindowInOrder) {
  const RegressorCheckpoint checkpoint = golden("slim");
  FeatureFolder folder = random_folder(checkpoint.config, 1);
  folder.sequences[0].frames.mutable_values<float>()[3] = NAN;
  RegressorCheckpoint whole = checkpoint;
  whole.formats = formats_of(checkpoint, folder, 8, Mode::dynamic);
  const AnyRegressor a = build_regressor(checkpoint), b = build_stored_regressor(whole);
  std::vector<int64_t> done;
  const auto got = predict_folder({&a, &b}, folder, Threads(2), [&](int64_t n, int64_t total) {
    done.push_back(n);
    EXPECT_EQ(total, folder.windows());
  });
  EXPECT_THAT(done, ElementsAre(std::ssize(folder.sequences[0].ends), folder.windows()));
  EXPECT_EQ(got.found.nans, 1) << "once, not once a model";
  NonFinite found;
  int64_t row = 0;
  for (const FeatureSequence& sequence : folder.sequences) {
    const Tensor frames = normalized_frames(sequence, folder.normalization, found);
    for (size_t m = 0; m < 2; ++m) {
      const Tensor y = std::visit(
          [&](const auto& model) {
            return predict(model, frames.matrix<float>(), sequence.ends, Threads(1));
          },
          m == 0 ? a : b);
      const auto all = got.predicted[m].values<float>().subspan(static_cast<size_t>(2 * row),
                                                                y.values<float>().size());
      EXPECT_TRUE(std::ranges::equal(all, y.values<float>())) << m;
    }
    row += std::ssize(sequence.ends);
  }
}

TEST(RegressorStage, StatisticsAreOfWindowsSpreadEvenlyOnAnyNumberOfThreads) {
  const RegressorCheckpoint checkpoint = golden("origin");
  const Regressor model = build_regressor(checkpoint);
  const FeatureFolder folder = random_folder(checkpoint.config, 1);
  const auto of = [&](int64_t windows, int threads) {
    return measure_regressor(model, folder, windows, Threads(threads));
  };
  const auto all = of(0, 1);
  for (const int threads : {2, 3}) EXPECT_EQ(all, of(0, threads)) << threads;
  EXPECT_EQ(all, of(folder.windows() + 5, 2));
  EXPECT_EQ(all.size(), model.sites().sites().size());
  EXPECT_EQ(all.at("head:output").count, static_cast<uint64_t>(2 * folder.windows()));
  const auto few = of(70, 2);
  EXPECT_EQ(few, of(70, 1));
  EXPECT_EQ(few.at("head:output").count, 140U) << "70 windows";
  const AnyRegressor any = model;
  const Tensor y = predict_folder({&any}, folder, Threads(1)).predicted[0];
  const auto [least, most] = std::ranges::minmax(y.values<float>());
  EXPECT_EQ(all.at("head:output").min, least);
  EXPECT_EQ(all.at("head:output").max, most);
  // Two windows of n: the last one of each half.
  const auto half = static_cast<size_t>((folder.windows() + 1) / 2 - 1);
  const auto values = y.values<float>();
  const float two[] = {values[2 * half], values[2 * half + 1], values[values.size() - 2],
                       values.back()};
  EXPECT_EQ(of(2, 1).at("head:output").min, std::ranges::min(two));
  EXPECT_EQ(of(2, 1).at("head:output").max, std::ranges::max(two));
}

}  // namespace
}  // namespace scute::predict_test
