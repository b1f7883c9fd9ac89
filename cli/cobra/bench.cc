// scute bench for Cobra: pictures through vision towers, projector and, of a folder, the language
// model.

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <ctime>
#include <map>
#include <memory>

#include "cli/cobra/memory.h"
#include "cli/described.h"
#include "cli/form.h"
#include "cli/roofline.h"
#include "cli/terminal/job.h"
#include "cli/terminal/machine.h"
#include "cli/terminal/options.h"
#include "cli/terminal/progress.h"
#include "cli/terminal/table.h"
#include "cli/terminal/words.h"
#include "scute/base/names.h"
#include "scute/base/random.h"
#include "scute/base/threads.h"
#include "scute/cobra/folder.h"
#include "scute/cobra/random.h"
#include "scute/kernels/gemm.h"

namespace scute::cli {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

struct CobraBenchRequest {
  std::string model;
  std::optional<std::string> random;
  Execution execution;
  int64_t pictures = 4, batches = 1, text = 16;
  bool int8 = false, roofline = false;
  Job job;

  void declare(Options& options);
  void check() const {
    if (model.empty() != random.has_value()) {
      throw UsageError("expected either MODEL or --random SIZE (see scute bench --help)");
    }
  }
};

void CobraBenchRequest::declare(Options& options) {
  options.model(model, Options::Need::optional);
  options.random(random, "");
  options.integer("--pictures", pictures, {1, 4096}, "pictures of a batch");
  options.integer("--batches", batches, {1, 1 << 20}, "batches timed");
  options.integer("--text-len", text, {1, 1 << 20}, "of a folder: random ids behind a picture");
  options.flag("--int8", int8, "of random weights: all products in 8 bits (W8A8)");
  options.compute(execution.compute);
  options.backend(execution.backend);
  declare_roofline(options, roofline);
  job.declare_memory(options);
  job.declare(options);
  options.only_with({"--memory"}, "MODEL", [this] { return !model.empty(); });
  options.only_with({"--int8"}, "--random SIZE (a folder is measured in its own formats)",
                    [this] { return random.has_value(); });
  options.only_with({"--text-len"}, "MODEL", [this] { return !model.empty(); });
  options.note(fmt::format("Sizes: {}", joined(named_vision_sizes(), ", ")));
  options.note(
      "Random pixels, already resized; pictures are dealt to threads. Of a folder the language "
      "model "
      "reads every picture too, without its head. Peak memory is that of the whole process, "
      "weights included.");
}

/// "vision.dino.blocks.3.attn.qkv:input" to what has been done when the next site is reached.
std::string part_after(const std::string& site) {
  const auto has = [&](const char* word) { return site.find(word) != std::string::npos; };
  if (has("patch_embed")) return "patch_embed";
  if (has("attn.qkv")) return "qkv_attention";
  if (has("attn.proj")) return "proj_norm";
  if (has("mlp.fc1")) return "fc1_gelu";
  if (has("mlp.fc2")) return "fc2_norm";
  if (site.starts_with("projector.")) return "projector";
  return site.starts_with("layer_") ? "llm" : "";
}

/// Of this thread's processor: others may use the machine too.
double thread_seconds() {
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

/// Notes the processor time from one site to the next.
class PartTimes : public Tap {
 public:
  bool wants(const Site&) const override { return true; }
  void see(const Site& site, MatView<const float>) override {
    const double now = thread_seconds();
    if (!part_.empty()) seconds_[part_] += now - last_;
    part_ = part_after(site.name);
    last_ = now;
  }
  const std::map<std::string, double>& seconds() const { return seconds_; }

 private:
  std::map<std::string, double> seconds_;
  std::string part_;  ///< begun at `last_`
  double last_ = 0;
};

/// Floats a row of pixels, the same for the same picture.
Tensor random_pixels(int64_t image, int64_t picture) {
  Tensor out(DType::f32, {3, image * image});
  Random random(static_cast<uint64_t>(picture));
  for (float& x : out.mutable_values<float>()) x = static_cast<float>(2 * random.uniform() - 1);
  return out;
}

/// Pictures through the model, towers first, then the projector, each timed.
class Passes {
 public:
  Passes(const CobraModel& model, const CobraBenchRequest& request)
      : model_(model), request_(request), threads_(request.job.threads) {
    for (int i = 0; i < threads_.count(); ++i) {
      times_.push_back(std::make_unique<PartTimes>());
      runs_.push_back(std::make_unique<Run>(times_.back().get()));
      runs_.back()->use(threads_.team(i));
    }
    const CobraConfig& config = model.config();
    for (int64_t i = 0; i < request.pictures; ++i) {
      pixels_.emplace_back();
      for (const VisionConfig& tower : config.towers) {
        pixels_.back().push_back(random_pixels(tower.image, i));
      }
      features_.emplace_back(
          DType::f32, Shape{config.towers.front().patches(), config.projector_config().vision});
      rows_.emplace_back(DType::f32, Shape{model.picture_tokens(), model.width()});
    }
  }

  void run() {
    Progress progress("bench", "pictures", request_.job.quiet);
    const int64_t total = request_.batches * request_.pictures;
    for (int64_t batch = 0; batch < request_.batches; ++batch) {
      towers_ += timed([&](Run& run, size_t i) {
        model_.features(run, pixel_views(pixels_[i]), features_[i].mutable_matrix<float>());
      });
      projector_ += timed([&](Run& run, size_t i) {
        model_.project(run, features_[i].mutable_matrix<float>(), rows_[i].mutable_matrix<float>());
      });
      if (!request_.model.empty()) language_ += timed([&](Run& run, size_t i) { read(run, i); });
      progress.update((batch + 1) * request_.pictures, total);
    }
  }

  int64_t threads() const { return std::min<int64_t>(threads_.count(), request_.pictures); }
  double towers() const { return towers_; }
  double projector() const { return projector_; }
  double language() const { return language_; }
  /// Processor seconds of each part, all threads together.
  std::map<std::string, double> parts() const {
    std::map<std::string, double> out;
    for (const auto& times : times_) {
      for (const auto& [part, seconds] : times->seconds()) out[part] += seconds;
    }
    return out;
  }

 private:
  void read(Run& run, size_t picture) const {
    const LanguageModel& language = model_.language();
    Random random(picture);
    std::vector<int32_t> ids;
    for (int64_t i = 0; i < request_.text; ++i) {
      const auto rows = static_cast<uint64_t>(language.config().vocabulary);
      ids.push_back(static_cast<int32_t>(random.below(rows)));
    }
    const Arena::Scope scope(run.arena());
    State state = language.new_state();
    const auto hidden = run.matrix(model_.picture_tokens() + request_.text, model_.width());
    language.hidden(run, rows_[picture].matrix<float>(), ids, state, hidden);
  }
  template <class F>
  double timed(const F& work) {
    const auto start = Clock::now();
    threads_.for_each(request_.pictures, [&](int64_t i, int worker) {
      work(*runs_[static_cast<size_t>(worker)], static_cast<size_t>(i));
    });
    return seconds_since(start);
  }

  const CobraModel& model_;
  const CobraBenchRequest& request_;
  Threads threads_;
  std::vector<std::unique_ptr<PartTimes>> times_;
  std::vector<std::unique_ptr<Run>> runs_;
  std::vector<std::vector<Tensor>> pixels_;  ///< a picture, a tower
  std::vector<Tensor> features_, rows_;
  double towers_ = 0, projector_ = 0, language_ = 0;
};

struct CobraSpeed {
  int64_t pictures = 0, weights = 0, loading_peak = 0, peak = 0, threads = 0;
  double towers = 0, projector = 0, language = 0;  ///< seconds; language 0: not measured
  int64_t tokens = 0;                              ///< read by the language model
  PictureWork work;
  std::map<std::string, double> parts;
  Work vision_work, language_work;
  std::optional<Roofline> roofline;

  const Roofline* limits() const { return roofline ? &*roofline : nullptr; }
  double seconds() const { return towers + projector; }
  double tokens_rate() const { return static_cast<double>(tokens) / language; }
  /// Pictures a second through all parts.
  double all_rate() const { return static_cast<double>(pictures) / (seconds() + language); }
  double tower_rate() const { return static_cast<double>(pictures) / towers; }
  double rate() const { return static_cast<double>(pictures) / seconds(); }
  /// 10⁹ operations a second.
  double gflops() const { return (work.towers + work.projector) * rate() / 1e9; }
  double processor() const {
    double sum = 0;
    for (const auto& part : parts) sum += part.second;
    return sum;
  }
  /// Pictures a second through towers and projector if every thread had a processor of its own
  /// throughout.
  double undisturbed() const {
    const auto language_model = parts.find("llm");
    const double others = language_model == parts.end() ? 0 : language_model->second;
    return static_cast<double>(pictures) * static_cast<double>(threads) / (processor() - others);
  }
  /// Memory beyond the weights.
  int64_t beyond() const { return peak - weights; }
};

std::string name_of(const CobraBenchRequest& request) {
  return request.random ? "random " + *request.random : request.model;
}

/// "vision.dino W8A8, …" of a low-bit folder, and how the rest is computed.
std::string folder_form(const CobraBenchRequest& request) {
  const CobraDescription model = describe_cobra(request.model);
  std::string out = compute_name(request.execution.compute);
  if (!model.low_bit) return out;
  const std::string where = request.model + "/config.json";
  const Json& formats = model.json.at("scute", where).at("formats", where);
  for (const auto& [bucket, format] : formats.as_object(where)) {
    out += fmt::format(", {} {}", bucket, format.as_string(where));
  }
  if (request.execution.backend == Backend::simulate) out += ", simulated";
  return out;
}

std::string form_of(const CobraBenchRequest& request) {
  if (!request.random) return folder_form(request);
  if (!request.int8) return compute_name(request.execution.compute);
  return request.execution.backend == Backend::integer ? "int8" : "int8, simulated";
}

Json as_json(const CobraSpeed& r, const CobraBenchRequest& request) {
  Json out;
  out["model"] = name_of(request);
  out["compute"] = form_of(request);
  out["pictures"] = request.pictures;
  out["batches"] = request.batches;
  out["threads"] = r.threads;
  out["processor"] = processor_name();
  out["highway"] = highway_target();
  out["instruction_sets"] = instruction_sets();
  out["seconds"] = r.seconds();
  out["tower_seconds"] = r.towers;
  out["projector_seconds"] = r.projector;
  out["tower_pictures_per_second"] = r.tower_rate();
  out["pictures_per_second"] = r.rate();
  out["pictures_per_second_undisturbed"] = r.undisturbed();
  if (r.language > 0) {
    out["llm_seconds"] = r.language;
    out["llm_tokens_per_second"] = r.tokens_rate();
    out["all_pictures_per_second"] = r.all_rate();
  }
  out["gflop_per_picture"] = (r.work.towers + r.work.projector) / 1e9;
  out["gflop_per_second"] = r.gflops();
  out["weight_bytes"] = r.weights;
  out["peak_bytes"] = r.peak;
  out["peak_bytes_after_loading"] = r.loading_peak;
  out["bytes_beyond_weights"] = r.beyond();
  for (const auto& [part, seconds] : r.parts) out["processor_seconds"][part] = seconds;
  add_work(out["vision"], {r.vision_work}, r.seconds(), r.limits());
  if (r.language > 0) add_work(out["llm"], {r.language_work}, r.language, r.limits());
  if (r.roofline) out["roofline"] = as_json(*r.roofline);
  return out;
}

std::string as_text(const CobraSpeed& r, const CobraBenchRequest& request) {
  std::string out =
      fmt::format("model      {}, {}, {} of {}, {}\n", name_of(request), form_of(request),
                  request.batches == 1 ? "1 batch" : grouped(request.batches) + " batches",
                  count_of(request.pictures, "picture"), count_of(r.threads, "thread"));
  out += fmt::format("machine    {}; {}\n", processor_name(), instruction_sets());
  out += fmt::format("towers     {} pictures a second\n", significant(r.tower_rate()));
  out += fmt::format(
      "all        {} pictures a second through towers and projector ({} by processor time)\n",
      significant(r.rate()), significant(r.undisturbed()));
  if (r.language > 0) {
    out += fmt::format("llm        {} tokens a second, {} pictures a second through all parts\n",
                       significant(r.tokens_rate()), significant(r.all_rate()));
  }
  out += fmt::format("time       {} for {}\n", duration_text(r.seconds() + r.language),
                     count_of(r.pictures, "picture"));
  out +=
      fmt::format("work       {} GFLOP a picture, {} GFLOP a second\n",
                  significant((r.work.towers + r.work.projector) / 1e9), significant(r.gflops()));
  out += fmt::format("vision     {}\n", work_text({r.vision_work}, r.seconds(), r.limits(), 11));
  if (r.language > 0) {
    out += fmt::format("llm        {}\n", work_text({r.language_work}, r.language, r.limits(), 11));
  }
  out += fmt::format("memory     weights {}, peak {}: {} beyond; peak after building {}\n",
                     bytes_text(r.weights), bytes_text(r.peak), bytes_text(r.beyond()),
                     bytes_text(r.loading_peak));
  Table table({{"part", Table::Align::left}, {"share"}, {"processor s"}});
  for (const auto& [part, seconds] : r.parts) {
    table.add({part, fmt::format("{:.1f} %", 100 * seconds / r.processor()), fixed(seconds, 3)});
  }
  out += "\n" + table.text();
  return r.roofline ? out + "\n" + as_text(*r.roofline) : out;
}

/// Sets the request's threads, where --memory has room for fewer.
CobraModel make_model(CobraBenchRequest& request, const Call& call) {
  if (!request.random) {
    const CobraDescription model = described_cobra(request.model, request.job.quiet);
    backend_only_with(call, model.low_bit);
    request.job.threads = planned_cobra(request.job, model, {.execution = request.execution});
    return load_cobra(model, request.execution, CobraModel::Parts::vision_and_language);
  }
  only_with(call, {"--backend"}, "--int8 or a low-bit model", request.int8);
  constexpr uint64_t kSeed = 42;
  const CobraConfig config = named_vision_config(*request.random);
  const RandomForm form = request.int8 ? RandomForm::int8 : RandomForm::bf16;
  return {config, random_vision_weights(config, form, kSeed), request.execution,
          CobraModel::Parts::vision};
}

int64_t language_bytes(const CobraModel& model) {
  const ModelSize size = model.language().size();
  return size.total() - size.embedding;
}

int64_t vision_bytes(const CobraModel& model) {
  return model.size().total() - model.language().size().total();
}

int run(CobraBenchRequest& request, const Call& call, Output& out) {
  const CobraModel model = make_model(request, call);
  CobraSpeed report;
  if (request.roofline) {
    report.roofline = measure_roofline(request.job.threads, request.job.quiet);
  }
  report.weights = model.size().total();
  report.loading_peak = peak_memory();
  report.work = picture_work(model.config());
  report.pictures = request.pictures * request.batches;

  Passes passes(model, request);
  passes.run();
  report.threads = passes.threads();
  report.towers = passes.towers();
  report.projector = passes.projector();
  report.language = passes.language();
  report.tokens = report.pictures * (model.picture_tokens() + request.text);
  report.parts = passes.parts();
  report.vision_work = {model.work_of_picture() * report.pictures, vision_bytes(model)};
  report.language_work = {model.language().work_of_blocks() * report.tokens, language_bytes(model)};
  report.peak = peak_memory();
  request.job.answer(
      out, [&] { return as_json(report, request); }, [&] { return as_text(report, request); });
  return kDone;
}

}  // namespace

Form cobra_bench_form() {
  return form<CobraBenchRequest>(
      {.kind = ModelKind::cobra,
       .summary = "speed and memory of vision towers, projector and language model on this machine",
       .example = "scute bench tests/golden/cobra/model --pictures 4\n"
                  "scute bench --random tiny-cobra-vision --pictures 4\n"
                  "scute bench --random cobra+3b-vision --compute bf16 --batches 8",
       .sizes = named_vision_sizes});
}

}  // namespace scute::cli
