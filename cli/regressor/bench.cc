// scute bench on a regressor: windows a second on this machine, in floats and as quantized.
#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "cli/described.h"
#include "cli/form.h"
#include "cli/roofline.h"
#include "cli/terminal/machine.h"
#include "cli/terminal/progress.h"
#include "cli/terminal/table.h"
#include "cli/terminal/words.h"
#include "scute/base/random.h"
#include "scute/kernels/gemm.h"
#include "scute/regressor/predict.h"

namespace scute::cli {
namespace {

struct RegressorBenchRequest {
  std::string model;
  int64_t frames = 2000, stride = 1, repeat = 5;
  int threads = 0;
  bool quiet = false, json = false, roofline = false;

  void declare(Options& options) {
    options.model(model);
    options.integer("--frames", frames, {.least = 1, .most = 1 << 20},
                    "random frames of the sequence that windows are cut from, beside the first "
                    "window's own");
    options.integer("--stride", stride, {.least = 1},
                    "frames from one window to the next; windows share the frames they overlap in");
    options.integer("--repeat,--repeats", repeat, {.least = 1},
                    "timed passes of each figure; the medians are shown");
    declare_roofline(options, roofline);
    options.machine(threads);
    options.quiet(quiet);
    options.json(json);
  }
};

/// One network of the checkpoint: its float weights, or as it is stored.
struct RegressorSpeed {
  std::string network;
  double windows_per_second = 0, one_window_seconds = 0;
  int64_t bytes = 0;
  Work work = {};  ///< of all windows; nothing where products are not of a type that is limited
};

double median_of(std::vector<double> values) {
  std::ranges::nth_element(values, values.begin() + std::ssize(values) / 2);
  return values[values.size() / 2];
}

/// Windows of a sequence of random frames, and one window that arrives alone.
class RegressorPasses {
 public:
  RegressorPasses(const RegressorConfig& config, const RegressorBenchRequest& request)
      : config_(config),
        repeat_(request.repeat),
        threads_(request.threads),
        frames_(DType::f32, {config.window + request.frames, config.features}),
        one_{config.window} {
    Random random(1);
    for (float& x : frames_.mutable_values<float>()) x = static_cast<float>(random.normal());
    for (int64_t end = config.window; end <= frames_.dim(0); end += request.stride) {
      ends_.push_back(end);
    }
  }

  int64_t windows() const { return std::ssize(ends_); }
  /// Of all windows in floats: frames are projected and patches embedded once (predict.h).
  ModelWork float_work(const RegressorCheckpoint& checkpoint) const {
    std::set<int64_t> frames, patches;
    for (const int64_t end : ends_) {
      for (int64_t i = 0; i < config_.window; ++i) frames.insert(end - config_.window + i);
      for (int64_t i = 0; i < config_.patches(); ++i) {
        patches.insert(end - config_.window + i * config_.stride);
      }
    }
    const RegressorTensors tensors(config_, checkpoint.weights);
    ModelWork out;
    for (const RegressorProduct& product : regressor_products(config_, tensors)) {
      const bool block = product.layer.starts_with("blocks.");
      const int64_t rows = product.layer == "proj"              ? std::ssize(frames)
                           : product.layer == "patch_embedding" ? std::ssize(patches)
                           : block                              ? windows() * config_.patches()
                                                                : windows();
      out.add(ProductType::f32, rows * product.weight.size());
    }
    return out;
  }
  int threads() const { return threads_.count(); }

  RegressorSpeed speed(std::string name, const AnyRegressor& any, Progress& progress) {
    RegressorSpeed out{.network = std::move(name)};
    const auto run = [&](const auto& model) {
      const auto view = frames_.matrix<float>();
      out.bytes = model.bytes();
      predict(model, view, ends_, threads_);  // memory is touched before anything is timed
      std::vector<double> all, alone;
      Run single;
      predict(model, view, one_, single);
      for (int64_t i = 0; i < repeat_; ++i) {
        all.push_back(seconds_of([&] { predict(model, view, ends_, threads_); }));
        alone.push_back(seconds_of([&] { predict(model, view, one_, single); }));
        progress.update(++done_, 2 * repeat_);
      }
      out.windows_per_second = static_cast<double>(windows()) / median_of(all);
      out.one_window_seconds = median_of(alone);
    };
    std::visit(run, any);
    return out;
  }

 private:
  RegressorConfig config_;
  int64_t repeat_, done_ = 0;
  Threads threads_;
  Tensor frames_;
  std::vector<int64_t> ends_, one_;
};

std::string as_text(const RegressorBenchRequest& request, const RegressorPasses& passes,
                    const std::vector<RegressorSpeed>& speeds, const Roofline* roofline) {
  std::string out =
      fmt::format("model       {}, {} of random frames at every {}, {}\n", request.model,
                  count_of(passes.windows(), "window"), count_of(request.stride, "frame"),
                  count_of(passes.threads(), "thread"));
  out += fmt::format("machine     {}; Highway {}; peak memory {}\n\n", processor_name(),
                     highway_target(), bytes_text(peak_memory()));
  Table table(
      {{"network", Table::Align::left}, {"windows a second"}, {"one window alone"}, {"weights"}});
  for (const RegressorSpeed& speed : speeds) {
    table.add({speed.network, grouped(static_cast<int64_t>(speed.windows_per_second)),
               significant(speed.one_window_seconds * 1e3, 3) + " ms", bytes_text(speed.bytes)});
  }
  out += table.text();
  for (const RegressorSpeed& speed : speeds) {
    if (speed.work.products.multiply_adds() == 0) continue;
    const double seconds = static_cast<double>(passes.windows()) / speed.windows_per_second;
    out += fmt::format("\n{}, all windows: {}\n", speed.network,
                       work_text({speed.work}, seconds, roofline, 2));
  }
  return roofline == nullptr ? out : out + "\n" + as_text(*roofline);
}

Json as_json(const RegressorBenchRequest& request, const RegressorPasses& passes,
             const std::vector<RegressorSpeed>& speeds, const Roofline* roofline) {
  Json out;
  out["model"] = request.model;
  out["windows"] = passes.windows();
  out["stride"] = request.stride;
  out["repeat"] = request.repeat;
  out["threads"] = passes.threads();
  out["processor"] = processor_name();
  out["highway"] = highway_target();
  out["peak_bytes"] = peak_memory();
  out["networks"] = Json::array();
  for (const RegressorSpeed& speed : speeds) {
    Json one;
    one["network"] = speed.network;
    one["windows_per_second"] = speed.windows_per_second;
    one["one_window_seconds"] = speed.one_window_seconds;
    one["weight_bytes"] = speed.bytes;
    if (speed.work.products.multiply_adds() > 0) {
      const double seconds = static_cast<double>(passes.windows()) / speed.windows_per_second;
      add_work(one["work"], {speed.work}, seconds, roofline);
    }
    out["networks"].push_back(std::move(one));
  }
  if (roofline != nullptr) out["roofline"] = as_json(*roofline);
  return out;
}

int run(RegressorBenchRequest& request, const Call&, Output& out) {
  const RegressorCheckpoint checkpoint = described_regressor(request.model, request.quiet);
  RegressorPasses passes(checkpoint.config, request);
  std::vector<RegressorSpeed> speeds;
  std::optional<Roofline> roofline;
  if (request.roofline) roofline = measure_roofline(request.threads, request.quiet);
  const Roofline* limits = roofline ? &*roofline : nullptr;
  {
    Progress progress("bench", "passes", request.quiet);
    speeds.push_back(passes.speed("floats", build_regressor(checkpoint), progress));
    speeds.back().work = {passes.float_work(checkpoint), speeds.back().bytes};
    if (checkpoint.formats || !checkpoint.scales.empty()) {
      const char* name = checkpoint.formats ? "integers, as stored" : "rounded, as stored";
      speeds.push_back(passes.speed(name, build_stored_regressor(checkpoint), progress));
    }
  }
  if (request.json) {
    out.write_json(as_json(request, passes, speeds, limits));
  } else {
    out.write(as_text(request, passes, speeds, limits));
  }
  return kDone;
}

}  // namespace

Form regressor_bench_form() {
  return form<RegressorBenchRequest>(
      {.kind = ModelKind::regressor,
       .summary = "windows a second of a regressor, in floats and as quantized",
       .example = "scute bench tests/golden/regressor/slim.pt --frames 500 --repeat 3"});
}

}  // namespace scute::cli
