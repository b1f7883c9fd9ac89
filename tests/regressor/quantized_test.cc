// The quantized regressor on trained checkpoints and recorded features, against predictions that
// PyTorch made (../shared) and the quality asked of each kind of quantization.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <map>
#include <optional>
#include <string>

#include "scute/base/json.h"
#include "scute/io/file.h"
#include "scute/io/npy.h"
#include "scute/io/zip.h"
#include "scute/models/regressor/test_regressors.h"
#include "scute/regressor/diagnosis.h"

namespace scute::quantized_test {
namespace {

namespace fs = std::filesystem;
using Mode = RegressorQuantization::Mode;
using Tensors = std::map<std::string, Tensor>;

const std::string kShared = "../shared/golden/regressor/";
const std::string kModels = "../shared/models/regressor/";
const std::string kLogo = kModels + "ckpt_refactor/logo_2100/";

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

double largest_difference(const Tensor& a, const Tensor& b) {
  EXPECT_EQ(a.shape(), b.shape());
  if (a.shape() != b.shape()) return INFINITY;
  double most = 0;
  for (size_t i = 0; i < a.values<float>().size(); ++i) {
    const double off = std::abs(double{a.values<float>()[i]} - double{b.values<float>()[i]});
    if (!(off <= most)) most = std::isnan(off) ? INFINITY : off;
  }
  return most;
}

/// Windows of which a coordinate is further than that from the other's.
int64_t windows_beyond(double tolerance, const Tensor& a, const Tensor& b) {
  int64_t out = 0;
  for (int64_t r = 0; r < a.dim(0); ++r) {
    const float *p = a.matrix<float>().row(r), *q = b.matrix<float>().row(r);
    const double off = std::max(std::abs(double{p[0]} - q[0]), std::abs(double{p[1]} - q[1]));
    out += off <= tolerance ? 0 : 1;
  }
  return out;
}

FeatureFolder folder_of(const RegressorConfig& config, FeatureRole role) {
  return read_feature_folder(kShared + "features",
                             {.role = role, .features = config.features, .window = config.window});
}

Tensor predicted(const AnyRegressor& model, const FeatureFolder& folder, int threads = 2) {
  return predict_folder({&model}, folder, Threads(threads)).predicted[0];
}

RegressorQuantization quantization(int bits, Mode mode) {
  RegressorQuantization how;
  how.backend = RegressorBackend::integer;
  how.bits = bits;
  how.mode = mode;
  how.all = true;
  return how;
}

class SharedQuantized : public testing::Test {
 protected:
  void SetUp() override {
    if (!fs::is_directory(kShared) || !fs::is_directory(kModels)) {
      GTEST_SKIP() << "SKIPPED: ../shared not present";
    }
  }
  static Tensors arrays(const std::string& file) {
    Tensors out;
    for (NamedTensor& array : read_npz(kShared + file)) {
      out.emplace(std::move(array.name), std::move(array.tensor));
    }
    return out;
  }
};

TEST_F(SharedQuantized, MetricsAndPositionsOfAFolderAreTheReferences) {
  const Tensors reference = arrays("features_reference.npz");
  const std::string path = kShared + "features_reference.json";
  const Json metrics = Json::parse(read_text(path), path);
  struct Case {
    std::string name, file;
    // 1e-5 m as the issue asks of floats, 1e-4 m of lsq.
    double tolerance;
    // Windows that may be off because a value next to half a code rounds the other way (sums in
    // floats depend on their order): one such frame is in up to 4 windows. Seen: one of 210
    // windows' frames, in 3 windows, by 0.7 mm.
    int64_t flips;
  };
  for (const Case& c :
       {Case{"float", kLogo + "best_epe_mean.pt", 1e-5, 0},
        Case{"parity_2100", kModels + "ckpt_refactor/parity_2100/best_epe_mean.pt", 1e-5, 0},
        Case{"int16_fixed88_lsq", kLogo + "calibrate_best.pt", 1e-4, 4},
        Case{"int8_fixed_lsq", kLogo + "calibrate_int8_best.pt", 1e-4, 4}}) {
    const RegressorCheckpoint checkpoint = read_regressor_checkpoint(c.file);
    const AnyRegressor model = build_stored_regressor(checkpoint);
    for (const FeatureRole role : {FeatureRole::eval, FeatureRole::test}) {
      const std::string split(name_of(role));
      SCOPED_TRACE(c.name + " " + split);
      const FeatureFolder folder = folder_of(checkpoint.config, role);
      const Tensor y = predicted(model, folder), truth = positions_of(folder).actual;
      const Tensor& want_y = reference.at("pred__" + c.name + "__" + split);
      const double off = largest_difference(y, want_y);
      const int64_t beyond = windows_beyond(c.tolerance, y, want_y);
      std::printf("%s %s: %.1e, %lld windows beyond %.0e\n", c.name.c_str(), split.c_str(), off,
                  static_cast<long long>(beyond), c.tolerance);
      // One code of Q8.8 that flips moves its window by up to 4 mm times the weights behind it.
      EXPECT_LE(off, c.flips > 0 ? 2e-3 : c.tolerance);
      EXPECT_LE(beyond, c.flips);
      EXPECT_EQ(largest_difference(truth, reference.at("true__" + split)), 0);
      const PositionErrors got = measure(y.matrix<float>(), truth.matrix<float>());
      const Json& want = metrics.at(c.name + "/" + split, path);
      EXPECT_EQ(got.count, want.at("n", path).as_int(path));
      EXPECT_NEAR(got.mean, want.at("mean", path).as_double(path), c.tolerance);
      EXPECT_NEAR(got.linear.median, want.at("median", path).as_double(path), c.tolerance);
      EXPECT_NEAR(got.linear.p80, want.at("p80", path).as_double(path), c.tolerance);
      EXPECT_NEAR(got.linear.p90, want.at("p90", path).as_double(path), c.tolerance);
    }
  }
}

TEST_F(SharedQuantized, LsqOutputsOfSyntheticWindowsAreTheReferences) {
  const Tensors golden = arrays("golden_synthetic.npz");
  for (const char* name : {"calibrate_best.pt", "calibrate_int8_best.pt"}) {
    const auto model = build_stored_regressor(read_regressor_checkpoint(kLogo + name));
    const Tensor got = testing_regressors::predict_windows(std::get<Regressor>(model),
                                                           golden.at("X_2100_16"), Threads(1));
    const double off =
        largest_difference(got, golden.at(std::string("y__ckpt_refactor__logo_2100__") + name));
    std::printf("%s: %.1e\n", name, off);
    EXPECT_LE(off, 1e-4) << name;
  }
}

TEST_F(SharedQuantized, LsqCodesOfEveryTracedLayerAreTheReferences) {
  const Tensors golden = arrays("golden_synthetic.npz");
  const auto stored =
      build_stored_regressor(read_regressor_checkpoint(kLogo + "calibrate_best.pt"));
  Keep tap;
  scute::Run run(&tap);
  const MatView<const float> frames(golden.at("X_2100_16").values<float>().data(), 16, 2100);
  predict(std::get<Regressor>(stored), frames, std::vector<int64_t>{16}, run);

  int64_t count = 0, different = 0;
  // `channels_first`: the trace is (1, channels, rows); else (1, rows, channels), as here.
  const auto compare_codes = [&](const std::string& module, const std::string& site,
                                 bool channels_first) {
    SCOPED_TRACE(module);
    const Tensor& trace = golden.at("trace__logo_2100_int16py__" + module);
    const std::vector<float>& seen = tap.seen[site];
    ASSERT_EQ(std::ssize(seen), trace.size());
    const int64_t channels = trace.dim(channels_first ? 1 : 2), rows = trace.size() / channels;
    for (int64_t i = 0; i < trace.size(); ++i) {
      const int64_t from = channels_first ? i % channels * rows + i / channels : i;
      const auto code = [](float x) {
        return std::clamp(std::nearbyint(double{x} * 256), -32768.0, 32767.0);
      };
      const double off = std::abs(code(seen[static_cast<size_t>(i)]) -
                                  code(trace.values<float>()[static_cast<size_t>(from)]));
      EXPECT_LE(off, 1);
      different += off > 0 ? 1 : 0;
      ++count;
    }
  };
  compare_codes("proj", "patch_embedding:input", true);
  for (const std::string i : {"0", "1", "2"}) {
    compare_codes("backbone.blocks." + i + ".norm", "blocks." + i + ".in_proj:input", false);
    compare_codes(
        "backbone.blocks." + i,
        i == "2" ? "norm_f:input" : "blocks." + std::to_string(std::stoi(i) + 1) + ".norm:input",
        false);
  }
  compare_codes("backbone.norm_f", "output_layer:input", false);
  compare_codes("backbone.output_layer_flat", "head:input", true);
  std::printf("%lld of %lld codes differ\n", static_cast<long long>(different),
              static_cast<long long>(count));
  EXPECT_EQ(count, 1024 + 6 * 192 + 192 + 64);
  EXPECT_LT(static_cast<double>(different), 1e-3 * static_cast<double>(count));
}

TEST_F(SharedQuantized, PositionsOfTheExtensionStandOnItsGrid) {
  const RegressorCheckpoint checkpoint = read_regressor_checkpoint(kLogo + "calibrate_cpp_best.pt");
  const AnyRegressor model = build_stored_regressor(checkpoint);
  const Tensor y = predicted(model, folder_of(checkpoint.config, FeatureRole::eval));
  const auto bias = checkpoint.weights.at("head.bias").values<float>();
  const auto off_grid = [&](double step) {
    double most = 0;
    for (int64_t r = 0; r < y.dim(0); ++r) {
      for (int64_t c = 0; c < 2; ++c) {
        const auto b = static_cast<double>(bias[static_cast<size_t>(c)]);
        const double steps = (double{y.matrix<float>().row(r)[c]} - b) / step;
        most = std::max(most, std::abs(steps - std::nearbyint(steps)));
      }
    }
    return most;
  };
  // Positions of up to 4 m are floats 2^-22 apart; the sum of 64 products in floats and the bias
  // round to that some ten times: 2e-6 m at most, of a step of 1.5e-5 m.
  const double scale = 0.0039062597788870335;  // scute/models/regressor/README.md
  EXPECT_EQ(static_cast<double>(0x1p-8F + 1e-8F), scale);
  EXPECT_LE(off_grid(scale * scale), 0.15);
  EXPECT_GE(off_grid(0x1p-16), 0.4) << "not Q8.8: 2.5e-6 of 10^5 steps is half of one";
}

/// logo_2100 measured once on its training windows.
struct Logo {
  RegressorCheckpoint checkpoint = read_regressor_checkpoint(kLogo + "best_epe_mean.pt");
  RegressorTensors tensors{checkpoint.config, checkpoint.weights};
  FeatureFolder eval = folder_of(checkpoint.config, FeatureRole::eval);
  PositionSet truth = positions_of(eval);
  AnyRegressor reference = build_regressor(checkpoint);
  Tensor expected = predicted(reference, eval);
  RegressorStatistics statistics =
      measure_regressor(std::get<Regressor>(reference),
                        folder_of(checkpoint.config, FeatureRole::train), 0, Threads(2));

  RegressorFormats formats(int bits, Mode mode, const RegressorRangeOptions& options = {}) const {
    return decide_formats(checkpoint.config, tensors, quantization(bits, mode), statistics,
                          options);
  }
  PositionComparison score(const char* name, const RegressorFormats& formats) const {
    const AnyRegressor model = IntegerRegressor(checkpoint.config, tensors, formats);
    const Tensor y = predicted(model, eval);
    const auto got =
        compare(y.matrix<float>(), expected.matrix<float>(), truth.actual.matrix<float>());
    std::printf("%-22s ratio %.4f +- %.4f, RMS %.3f mm, largest %.3f mm\n", name, got.ratio,
                got.ratio_standard_error, 1e3 * got.rms_deviation, 1e3 * got.largest_deviation);
    return got;
  }
};

TEST_F(SharedQuantized, TheIntegerNetworkIsAsGoodAsAskedFor) {
  const Logo logo;
  const auto int16 = logo.score("INT16", logo.formats(16, Mode::dynamic));
  EXPECT_LE(int16.ratio, 1.005);
  EXPECT_LE(int16.rms_deviation, 1e-3);
  const auto per_layer = logo.score("INT16 per layer", logo.formats(16, Mode::per_layer));
  EXPECT_LE(per_layer.ratio, 1.005);
  EXPECT_LE(per_layer.rms_deviation, 1e-3);

  const auto maxabs = logo.score("INT8 maxabs", logo.formats(8, Mode::dynamic));
  const auto p99 =
      logo.score("INT8 p99", logo.formats(8, Mode::dynamic, {RegressorMethod::p99, 1.25}));
  const auto mse =
      logo.score("INT8 mse", logo.formats(8, Mode::dynamic, {RegressorMethod::mse, 1.25}));
  EXPECT_LE(maxabs.ratio, 1.05);
  EXPECT_LE(maxabs.rms_deviation, 15e-3);
  EXPECT_LE(std::min({maxabs.ratio, p99.ratio, mse.ratio}), 1.03);
  EXPECT_GT(maxabs.rms_deviation, 2e-3) << "8 bits cannot be that exact";

  logo.score("INT8 per layer", logo.formats(8, Mode::per_layer));
  logo.score("INT8, no headroom", logo.formats(8, Mode::dynamic, {RegressorMethod::maxabs, 1}));
  const auto fixed = logo.score("Q8.8", logo.formats(16, Mode::fixed));
  EXPECT_GT(fixed.rms_deviation, 10 * int16.rms_deviation) << "8 fractional bits are too few";
  EXPECT_LE(fixed.ratio, 1.25) << "yet no garbage";
}

TEST_F(SharedQuantized, TheIntegerNetworkIsTheSameForAnyNumberOfThreads) {
  const Logo logo;
  for (const int bits : {8, 16}) {
    const AnyRegressor model =
        IntegerRegressor(logo.checkpoint.config, logo.tensors, logo.formats(bits, Mode::dynamic));
    const Tensor one = predicted(model, logo.eval, 1);
    for (const int threads : {2, 3, 4}) {
      const Tensor got = predicted(model, logo.eval, threads);
      EXPECT_TRUE(std::ranges::equal(one.bytes(), got.bytes())) << bits << " " << threads;
    }
  }
}

TEST_F(SharedQuantized, StatisticsAreTheSameForAnyNumberOfThreads) {
  const Logo logo;
  const FeatureFolder train = folder_of(logo.checkpoint.config, FeatureRole::train);
  const auto& model = std::get<Regressor>(logo.reference);
  EXPECT_EQ(logo.statistics, measure_regressor(model, train, 0, Threads(1)));
  EXPECT_NE(logo.statistics, measure_regressor(model, train, 3, Threads(1)));
}

TEST_F(SharedQuantized, OriginModelsAreAsGoodInIntegers) {
  const RegressorCheckpoint checkpoint =
      read_regressor_checkpoint(kModels + "ckpt_origin/parity_2100/best_epe_mean.pt");
  const RegressorTensors tensors(checkpoint.config, checkpoint.weights);
  const FeatureFolder eval = folder_of(checkpoint.config, FeatureRole::eval);
  const AnyRegressor reference = build_regressor(checkpoint);
  const auto statistics =
      measure_regressor(std::get<Regressor>(reference),
                        folder_of(checkpoint.config, FeatureRole::train), 0, Threads(2));
  const Tensor expected = predicted(reference, eval), truth = positions_of(eval).actual;
  for (const auto& [bits, bar] : {std::pair{16, 2e-3}, {8, 60e-3}}) {
    const AnyRegressor model =
        IntegerRegressor(checkpoint.config, tensors,
                         decide_formats(checkpoint.config, tensors,
                                        quantization(bits, Mode::dynamic), statistics, {}));
    const auto got = compare(predicted(model, eval).matrix<float>(), expected.matrix<float>(),
                             truth.matrix<float>());
    std::printf("origin, %d bits: ratio %.4f, RMS %.3f mm\n", bits, got.ratio,
                1e3 * got.rms_deviation);
    EXPECT_LE(got.rms_deviation, bar);
    EXPECT_LE(got.ratio, bits == 16 ? 1.005 : 1.05);
  }
}

}  // namespace
}  // namespace scute::quantized_test
