// The Mamba regressor over a recorded sequence, each frame projected once: windows a second in
// floats, with rounded layers and in integers, the latency of one window alone, and what
// normalizing the frames costs. The models have random weights in the shape of logo_2100; the
// trained one is measured as well where ../shared is there.
#include <benchmark/benchmark.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "scute/base/random.h"
#include "scute/data/features.h"
#include "scute/observe/recorder.h"
#include "scute/regressor/predict.h"

namespace scute {
namespace {

using Backend = RegressorBackend;
using Mode = RegressorQuantization::Mode;

constexpr const char* kTrained =
    "../shared/models/regressor/ckpt_refactor/logo_2100/best_epe_mean.pt";
constexpr int64_t kFrames = 4096;
/// What ranges are measured on. The values hardly matter to the speed.
constexpr int64_t kMeasured = 256;

RegressorConfig logo_2100() {
  RegressorConfig config;
  config.features = 2100;
  config.window = 16;
  config.patch = 8;
  config.stride = 4;
  config.projected = 64;
  config.width = 64;
  config.layers = 3;
  config.convolution = true;
  return config;
}

Tensor normal(Shape shape, double scale, double mean = 0) {
  Tensor out(DType::f32, std::move(shape));
  Random random(static_cast<uint64_t>(out.size()));
  for (float& x : out.mutable_values<float>()) {
    x = static_cast<float>(mean + scale * random.normal());
  }
  return out;
}

/// A matrix whose outputs are about as large as its inputs.
Tensor matrix(Shape shape) {
  int64_t inputs = 1;
  for (size_t i = 1; i < shape.size(); ++i) inputs *= shape[i];
  return normal(std::move(shape), 1 / std::sqrt(static_cast<double>(inputs)));
}

Weights random_weights(const RegressorConfig& c) {
  Weights out("random");
  const auto layer = [&](const std::string& name, Shape shape) {
    out.add(name + ".bias", normal({shape[0]}, 0.1));
    out.add(name + ".weight", matrix(std::move(shape)));
  };
  const int64_t C = c.projected, D = c.width, I = c.inner();
  layer("proj", {C, c.features, 1});
  layer("backbone.patch_embedding", {D, C, c.patch});
  for (int64_t i = 0; i < c.layers; ++i) {
    const std::string block = fmt::format("backbone.blocks.{}.", i);
    out.add(block + "norm.weight", normal({D}, 0.1, 1));
    out.add(block + "in_proj.weight", matrix({2 * I, D, 1}));
    out.add(block + "out_proj.weight", matrix({D, I, 1}));
    layer(block + "ssm.dt_proj", {I, I, 1});
    layer(block + "dw_conv", {I, 1, c.taps()});
  }
  out.add("backbone.norm_f.weight", normal({D}, 0.1, 1));
  layer("backbone.output_layer_flat", {C, D, c.patches()});
  layer("backbone.output_layer_pool", {C, D, 1});
  layer("head", {RegressorConfig::outputs, C, 1});
  return out;
}

/// The windows that begin at every stride-th frame.
std::vector<int64_t> ends_of(int64_t frames, int64_t window, int64_t stride) {
  std::vector<int64_t> out;
  for (int64_t end = window; end <= frames; end += stride) out.push_back(end);
  return out;
}

struct Variant {
  std::string name;
  AnyRegressor model;
};

/// The float network and what quantization makes of it.
std::vector<Variant> variants_of(const RegressorConfig& config, const Weights& weights) {
  const RegressorTensors tensors(config, weights);
  const Regressor model(config, tensors);
  Recorder recorder(model.sites().sites());
  Run run(&recorder);
  const Tensor frames = normal({kMeasured, config.features}, 1);
  predict(model, frames.matrix<float>(), ends_of(kMeasured, config.window, 1), run);
  const RegressorStatistics seen = recorder.take();

  RegressorQuantization how{
      .backend = Backend::lsq, .mode = Mode::dynamic, .bits = 16, .all = true};
  RegressorArithmetic lsq;
  lsq.rounding = decide_rounding(config, tensors, how, seen, {});
  std::vector<Variant> out;
  out.push_back({"float", model});
  out.push_back({"lsq16", Regressor(config, tensors, lsq)});
  how.backend = Backend::integer;
  const auto add = [&](const std::string& name, Mode mode, int bits) {
    how.mode = mode;
    how.bits = bits;
    const RegressorFormats formats = decide_formats(config, tensors, how, seen, {});
    out.push_back({name, IntegerRegressor(config, tensors, formats)});
  };
  add("int16", Mode::dynamic, 16);
  add("int8", Mode::dynamic, 8);
  add("q8.8", Mode::fixed, 16);
  return out;
}

/// Windows at every stride-th frame of a sequence. Times are those of the clock on the wall; `CPU`
/// is that of all threads.
void predict_with(benchmark::State& state, const AnyRegressor& any, int64_t stride, int threads) {
  const auto predict_in = [&](const auto& model) {
    const RegressorConfig& config = model.config();
    const Tensor frames = normal({kFrames, config.features}, 1);
    const std::vector<int64_t> ends = ends_of(kFrames, config.window, stride);
    const Threads team(threads);
    for (auto _ : state) {
      benchmark::DoNotOptimize(predict(model, frames.matrix<float>(), ends, team).size());
    }
    const auto windows = static_cast<double>(ends.size());
    state.counters["windows_per_s"] =
        benchmark::Counter(windows, benchmark::Counter::kIsIterationInvariantRate);
    state.counters["per_window"] = benchmark::Counter(
        windows, benchmark::Counter::kIsIterationInvariantRate | benchmark::Counter::kInvert);
    state.counters["weight_bytes"] = static_cast<double>(model.bytes());
  };
  std::visit(predict_in, any);
}

/// One window that arrives alone: all its frames are projected for it.
void one_window_with(benchmark::State& state, const AnyRegressor& any) {
  const auto predict_in = [&](const auto& model) {
    const RegressorConfig& config = model.config();
    const Tensor frames = normal({config.window, config.features}, 1);
    const std::vector<int64_t> ends = {config.window};
    Run run;
    for (auto _ : state) {
      benchmark::DoNotOptimize(predict(model, frames.matrix<float>(), ends, run).size());
    }
  };
  std::visit(predict_in, any);
}

/// A stored sequence of half floats as a model sees it; an item is a frame.
void normalize_frames(benchmark::State& state) {
  constexpr int64_t kStored = 20000;
  const int64_t features = logo_2100().features;
  const Tensor row = normal({features}, 1).rounded_to(DType::f16);
  FeatureSequence sequence;
  sequence.frames = Tensor(DType::f16, {kStored, features});
  for (int64_t t = 0; t < kStored; ++t) {
    std::ranges::copy(row.values<f16>(), sequence.frames.mutable_matrix<f16>().row(t));
  }
  const auto wide = static_cast<size_t>(features);
  const FeatureNormalization training{"bench", std::vector<float>(wide, 0.1F),
                                      std::vector<float>(wide, 0.7F)};
  NonFinite found;
  for (auto _ : state) {
    benchmark::DoNotOptimize(normalized_frames(sequence, training, found).size());
  }
  state.counters["per_frame"] = benchmark::Counter(
      static_cast<double>(kStored),
      benchmark::Counter::kIsIterationInvariantRate | benchmark::Counter::kInvert);
}
BENCHMARK(normalize_frames)->UseRealTime()->Unit(benchmark::kMillisecond);

void add(const std::string& model, const std::shared_ptr<const std::vector<Variant>>& variants) {
  for (const Variant& variant : *variants) {
    for (const int64_t stride : {4, 1}) {
      for (const int threads : {1, 2}) {
        const std::string name =
            fmt::format("{}/{}/stride:{}/threads:{}", model, variant.name, stride, threads);
        benchmark::RegisterBenchmark(
            name.c_str(),
            [variants, &variant, stride, threads](benchmark::State& state) {
              predict_with(state, variant.model, stride, threads);
            })
            ->UseRealTime()
            ->MeasureProcessCPUTime()
            ->Unit(benchmark::kMillisecond);
      }
    }
    const std::string name = fmt::format("{}/{}/one_window", model, variant.name);
    benchmark::RegisterBenchmark(
        name.c_str(),
        [variants, &variant](benchmark::State& state) { one_window_with(state, variant.model); })
        ->UseRealTime()
        ->Unit(benchmark::kMicrosecond);
  }
}

void add_all() {
  const auto shared = [](std::vector<Variant> variants) {
    return std::make_shared<const std::vector<Variant>>(std::move(variants));
  };
  add("random", shared(variants_of(logo_2100(), random_weights(logo_2100()))));
  if (!std::filesystem::exists(kTrained)) return;
  const RegressorCheckpoint trained = read_regressor_checkpoint(kTrained);
  add("logo_2100", shared(variants_of(trained.config, trained.weights)));
}

}  // namespace
}  // namespace scute

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  scute::add_all();
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
}
