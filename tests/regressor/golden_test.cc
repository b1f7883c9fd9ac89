// The regressor against float64: computed elsewhere for trained checkpoints, and by
// scripts/make_regressor.py for small ones with every option.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <map>
#include <string>

#include "scute/base/error.h"
#include "scute/base/json.h"
#include "scute/io/file.h"
#include "scute/io/npy.h"
#include "scute/io/safetensors.h"
#include "scute/io/zip.h"
#include "scute/models/regressor/test_regressors.h"
#include "scute/regressor/test_scales.h"

namespace scute::regressor_golden_test {
namespace {

namespace fs = std::filesystem;

using Tensors = std::map<std::string, Tensor>;

const std::string kOwn = "tests/golden/regressor/";
const std::string kShared = "../shared/golden/regressor/";
const std::string kModels = "../shared/models/regressor/";

// Positions are some units large, half an ulp of them 1e-7; each of some 30 roundings between frame
// and position adds its share. Measured: 6e-7 at worst.
constexpr double kFloat32 = 2e-6;

/// The largest difference; NaN counts as infinite.
double distance(MatView<const float> got, MatView<const double> reference) {
  EXPECT_EQ(got.rows, reference.rows);
  EXPECT_EQ(got.cols, reference.cols);
  if (got.rows != reference.rows || got.cols != reference.cols) return INFINITY;
  double most = 0;
  for (int64_t r = 0; r < got.rows; ++r) {
    for (int64_t c = 0; c < got.cols; ++c) {
      const double difference = std::abs(double{got.row(r)[c]} - reference.row(r)[c]);
      if (!(difference <= most)) most = std::isnan(difference) ? INFINITY : difference;
    }
  }
  return most;
}

double distance(const Tensor& got, const Tensor& reference) {
  return distance(got.matrix<float>(), reference.matrix<double>());
}

std::string error_of(const std::string& path) {
  try {
    read_regressor_checkpoint(path);
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

/// windows.safetensors: NAME/x, NAME/y and, of some, NAME/SITE.
Tensors own_golden() {
  Tensors out;
  for (NamedTensor& named : read_safetensors(kOwn + "windows.safetensors").tensors) {
    out.emplace(std::move(named.name), std::move(named.tensor));
  }
  return out;
}

/// Keeps all that each site shows, row after row.
class Keep : public Tap {
 public:
  bool wants(const Site& site) const override { return site.index >= 0; }
  void see(const Site& site, MatView<const float> x) override {
    std::vector<float>& values = seen[site.name];
    for (int64_t r = 0; r < x.rows; ++r) values.insert(values.end(), x.row(r), x.row(r) + x.cols);
  }
  std::map<std::string, std::vector<float>> seen;
};

TEST(Regressor, EveryOptionEqualsFloat64) {
  int models = 0;
  const Tensors golden = own_golden();
  for (const auto& [name, x] : golden) {
    if (!name.ends_with("/x")) continue;
    const std::string model_name = name.substr(0, name.size() - 2);
    SCOPED_TRACE(model_name);
    const RegressorCheckpoint checkpoint = read_regressor_checkpoint(kOwn + model_name + ".pt");
    const Regressor model = build_regressor(checkpoint);
    const double off = distance(testing_regressors::predict_windows(model, x, Threads(1)),
                                golden.at(model_name + "/y"));
    std::printf("%s: %.1e\n", model_name.c_str(), off);
    EXPECT_LE(off, kFloat32);
    ++models;
  }
  EXPECT_EQ(models, 11);
}

TEST(Regressor, OptionsAreReadFromTheFile) {
  const auto config = [](const std::string& name) {
    return read_regressor_checkpoint(kOwn + name + ".pt").config;
  };
  using Pool = RegressorConfig::Pool;
  using Variant = RegressorConfig::Variant;
  RegressorConfig expected;
  expected.variant = Variant::slim;
  expected.features = 7;
  expected.window = 9;
  expected.projected = 5;
  expected.width = 6;
  expected.layers = 2;
  expected.patch = 3;
  expected.stride = 2;
  expected.positions = false;
  EXPECT_EQ(config("slim"), expected);
  EXPECT_EQ(expected.patches(), 4);
  EXPECT_EQ(config("slim_remainder").patches(), 1);
  EXPECT_EQ(config("slim_one_frame").patches(), 1);
  EXPECT_TRUE(config("slim_positions").positions);
  EXPECT_EQ(config("slim_positions").position_scale, 0.75);
  EXPECT_FALSE(config("slim_gate_off").gate);
  EXPECT_TRUE(config("slim_dwconv").convolution);
  EXPECT_EQ(config("slim_average").pool, Pool::average);
  EXPECT_EQ(config("slim_maximum").pool, Pool::maximum);
  EXPECT_EQ(config("origin").variant, Variant::origin);
  EXPECT_EQ(config("origin").dt_rank(), 2);
}

TEST(Regressor, SitesShowTheInputsOfTheirLayers) {
  const Tensors golden = own_golden();
  const std::vector<std::string> kBetween{"norm", "conv1d", "dw_conv", "z_act", "norm_f"};
  for (const std::string name : {"slim", "slim_average", "origin_positions"}) {
    SCOPED_TRACE(name);
    const Regressor model = build_regressor(read_regressor_checkpoint(kOwn + name + ".pt"));
    const RegressorConfig& c = model.config();
    const Tensor& x = golden.at(name + "/x");
    std::vector<int64_t> ends;
    for (int64_t b = 1; b <= x.dim(0); ++b) ends.push_back(b * c.window);
    Keep tap;
    scute::Run run(&tap);
    const auto frames =
        MatView<const float>(x.values<float>().data(), x.dim(0) * x.dim(1), x.dim(2));
    predict(model, frames, ends, run);
    EXPECT_EQ(tap.seen.size(), model.sites().sites().size());
    for (const Site& site : model.sites().sites()) {
      // Those between the layers are not in the file; integer formats are decided from them.
      const bool between = std::ranges::any_of(
          kBetween, [&](const std::string& step) { return site.name.ends_with(step + ":input"); });
      EXPECT_EQ(between, !golden.contains(name + "/" + site.name) && site.name != "head:output");
      if (between) continue;
      const Tensor& reference =
          golden.at(name + "/" + (site.name == "head:output" ? "y" : site.name));
      EXPECT_EQ(site.shape, Shape{reference.dim(1)}) << site.name;
      const std::vector<float>& seen = tap.seen[site.name];
      const MatView<const float> got(seen.data(), std::ssize(seen) / reference.dim(1),
                                     reference.dim(1));
      double largest = 1;
      for (const double v : reference.values<double>()) largest = std::max(largest, std::abs(v));
      EXPECT_LE(distance(got, reference.matrix<double>()), kFloat32 * largest) << site.name;
    }
  }
}

TEST(Regressor, EveryKeyStyleHoldsTheSameModel) {
  const Tensors golden = own_golden();
  const Tensor& x = golden.at("slim_dwconv/x");
  const auto of = [&](const std::string& name) {
    const RegressorCheckpoint checkpoint = read_regressor_checkpoint(kOwn + name + ".pt");
    return testing_regressors::predict_windows(build_regressor(checkpoint), x, Threads(1));
  };
  const Tensor plain = of("slim_dwconv");
  for (const char* name : {"calibrated_python", "calibrated_extension", "calibrated_old"}) {
    EXPECT_TRUE(std::ranges::equal(plain.bytes(), of(name).bytes())) << name;
  }
}

TEST(Regressor, AnUntrainedOriginModelIsRefusedAsWhatItIs) {
  const std::string error = error_of(kOwn + "untrained_origin.pt");
  EXPECT_NE(error.find("corrupt checkpoint: A_log is log(1 … 16) and D is 1 in all 2 blocks"),
            error.npos)
      << error;
}

TEST(Regressor, APickledModuleIsRefusedByItsClass) {
  const std::string error = error_of(kOwn + "module.pt");
  EXPECT_NE(error.find("refactor.core.mamba_regressor.MambaRegressor"), error.npos) << error;
}

class SharedRegressor : public testing::Test {
 protected:
  void SetUp() override {
    if (!fs::is_directory(kShared) || !fs::is_directory(kModels)) {
      GTEST_SKIP() << "SKIPPED: ../shared not present";
    }
  }
  /// Arrays whose names begin so: others of that file lie in Fortran order, which read_npz refuses.
  static Tensors golden(std::initializer_list<std::string_view> prefixes) {
    Tensors out;
    const ZipReader zip(kShared + "golden_synthetic.npz");
    for (const ZipEntry& entry : zip.entries()) {
      const auto begins = [&](std::string_view prefix) { return entry.name.starts_with(prefix); };
      if (!std::ranges::any_of(prefixes, begins)) continue;
      out.emplace(entry.name.substr(0, entry.name.size() - 4),
                  parse_npy(zip.read(entry).bytes(), entry.name));
    }
    return out;
  }
};

TEST_F(SharedRegressor, EveryFloatCheckpointEqualsTheFloat64Reference) {
  const Tensors stored = golden({"X_", "y64__"});
  int compared = 0;
  for (const auto& [name, reference] : stored) {
    if (!name.starts_with("y64__")) continue;
    std::string path = name.substr(5);
    for (size_t at; (at = path.find("__")) != path.npos;) path.replace(at, 2, "/");
    SCOPED_TRACE(path);
    const RegressorCheckpoint checkpoint = read_regressor_checkpoint(kModels + path);
    const RegressorConfig& c = checkpoint.config;
    const Tensor& x = stored.at("X_" + std::to_string(c.features) + "_" + std::to_string(c.window));
    const double off = distance(
        testing_regressors::predict_windows(build_regressor(checkpoint), x, Threads(1)), reference);
    std::printf("%s: %.1e\n", path.c_str(), off);
    EXPECT_LE(off, kFloat32);
    EXPECT_TRUE(checkpoint.scales.empty());
    EXPECT_TRUE(checkpoint.training.epoch.has_value());
    ++compared;
  }
  EXPECT_EQ(compared, 10);
}

TEST_F(SharedRegressor, WindowsOfATrainedModelHaveTheSameBitsAloneAndInASequence) {
  const Tensor x = golden({"X_2100_16"}).at("X_2100_16");
  const MatView<const float> frames(x.values<float>().data(), 64, 2100);
  for (const char* path : {"ckpt_refactor/logo_2100/", "ckpt_origin/parity_2100/"}) {
    const Regressor model =
        build_regressor(read_regressor_checkpoint(kModels + path + "best_epe_mean.pt"));
    std::vector<int64_t> ends;
    for (int64_t end = 16; end <= 64; ++end) ends.push_back(end);
    const Tensor one = predict(model, frames, ends, Threads(1));
    for (const int threads : {2, 3, 4}) {
      const Tensor got = predict(model, frames, ends, Threads(threads));
      EXPECT_TRUE(std::ranges::equal(one.bytes(), got.bytes())) << path << threads;
    }
    for (size_t i = 0; i < ends.size(); i += 5) {
      const Tensor alone =
          predict(model, frames.slice_rows(ends[i] - 16, 16), std::vector<int64_t>{16}, Threads(1));
      EXPECT_TRUE(std::ranges::equal(one.bytes().subspan(i * 8, 8), alone.bytes())) << path << i;
    }
  }
}

TEST_F(SharedRegressor, RealFramesGiveTheSavedPositions) {
  const Regressor model = build_regressor(
      read_regressor_checkpoint(kModels + "ckpt_refactor_ablation_K/parity_2100_K2_pl2/"
                                          "best_epe_mean.pt"));
  const std::string path = kShared + "k2_pl2_block0_frames.json";
  const Json json = Json::parse(read_text(path), path);
  int frames = 0;
  double worst = 0;
  for (const Json& frame : json.at("frames", path).as_array(path)) {
    const int64_t number = frame.at("frame", path).as_int(path);
    std::vector<float> patch;
    for (const Json& code : frame.at("h_in_q88", path).as_array(path)) {
      patch.push_back(static_cast<float>(code.as_int(path)) / 256);
    }
    ASSERT_EQ(std::ssize(patch), model.config().width);
    scute::Run run;
    float got[2];
    model.locate(run, {patch.data(), 1, model.config().width}, {got, 1, 2});
    for (size_t axis = 0; axis < 2; ++axis) {
      const double saved = frame.at("y_pred_saved", path).as_array(path)[axis].as_double(path);
      const double exact = frame.at("y_float64_from_h", path).as_array(path)[axis].as_double(path);
      // The inputs are rounded to 1/256, the saved positions are not: 5e-4, and for frame 0, which
      // comes from another export, 3e-3.
      EXPECT_NEAR(double{got[axis]}, saved, number == 0 ? 3e-3 : 5e-4) << number;
      EXPECT_NEAR(double{got[axis]}, exact, kFloat32) << number;
      worst = std::max(worst, std::abs(double{got[axis]} - exact));
    }
    ++frames;
  }
  std::printf("real frames: %.1e from float64\n", worst);
  EXPECT_EQ(frames, 7);
}

TEST_F(SharedRegressor, CalibratedCheckpointsHoldTheFloatModelAndItsScales) {
  const std::string folder = kModels + "ckpt_refactor/logo_2100/";
  const RegressorCheckpoint plain = read_regressor_checkpoint(folder + "best_epe_mean.pt");
  for (const auto& [name, input] : {std::pair{"calibrate_best.pt", 1.0F / 256},
                                    {"calibrate_cpp_best.pt", 1.0F / 256},
                                    {"calibrate_int8_best.pt", 1.0F / 16}}) {
    SCOPED_TRACE(name);
    const RegressorCheckpoint got = read_regressor_checkpoint(folder + name);
    EXPECT_EQ(got.config, plain.config);
    EXPECT_EQ(got.weights.names(), plain.weights.names());
    for (const std::string& tensor : plain.weights.names()) {
      EXPECT_TRUE(
          std::ranges::equal(got.weights.at(tensor).bytes(), plain.weights.at(tensor).bytes()))
          << tensor;
    }
    EXPECT_EQ(got.scales.size(), 10U);  // proj, head, patches, pool, two each in three blocks
    EXPECT_TRUE(got.quantization.all);
    for (const RegressorScales& scales : got.scales) {
      EXPECT_GT(scales.input.size(), 1U) << scales.layer;
      for (const float s : scales.input) EXPECT_EQ(s, input) << scales.layer;
      for (const float s : scales.weight) EXPECT_EQ(s, 1.0F / 256) << scales.layer;
      EXPECT_EQ(scales.input_zero, 0.0F);
    }
  }
  const RegressorCheckpoint old = read_regressor_checkpoint(kModels + "calibrate_last.pt");
  EXPECT_EQ(old.config.features, 4200);
  EXPECT_EQ(old.scales.size(), 9U);  // no patch embedding
  EXPECT_EQ(scales_of(old, "proj")->input.size(), 1U);
  EXPECT_NEAR(double{scales_of(old, "proj")->input[0]}, 1.6257, 1e-4);
}

TEST_F(SharedRegressor, EveryOtherFileIsReadOrRefusedForItsReason) {
  int read = 0;
  for (const auto& entry : fs::recursive_directory_iterator(kModels)) {
    if (entry.path().extension() != ".pt") continue;
    const std::string path = entry.path().string(), error = error_of(path);
    if (path.ends_with("parity_ori/calibrate_cpp_best.pt")) {
      EXPECT_NE(error.find("corrupt checkpoint"), error.npos) << error;
    } else if (path.ends_with("model_full.pt")) {
      EXPECT_NE(error.find("class refactor.core.mamba_regressor.MambaRegressor"), error.npos)
          << error;
    } else {
      EXPECT_EQ(error, "") << path;
      ++read;
    }
  }
  EXPECT_EQ(read, 16);
}

}  // namespace
}  // namespace scute::regressor_golden_test
