#include "cli/cobra/memory.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <vector>

#include "cli/terminal/progress.h"
#include "cli/terminal/room.h"
#include "scute/base/threads.h"
#include "scute/recipe/memory_limit.h"

namespace scute::cli {
namespace {

/// Bytes.
struct CobraSizes {
  LanguageSizes language;
  int64_t vision = 0;      ///< towers and projector, packed
  int64_t stored = 0;      ///< their largest tensor
  int64_t of_tower = 0;    ///< scratch of a thread in the tower that takes most
  int64_t pixels = 0;      ///< of a picture as the towers see it
  int64_t statistics = 0;  ///< of a thread
  int64_t tokens = 0;      ///< of a picture and its text
  int64_t base = 0;

  /// All weights of one.
  int64_t packed() const { return language.packed() + language.table.stored + vision; }
  /// All weights of so many models in memory.
  int64_t whole(int models, int64_t threads) const;
  /// Towers and projector are there while pictures are seen, and then a layer at a time.
  LanguageSizes by_layers() const;
};

/// Pictures that go through layers together, whose pixels are in memory.
constexpr int64_t kPictures = 16;

LanguageSizes CobraSizes::by_layers() const {
  LanguageSizes out = language;
  out.layers.push_back({.stored = stored, .packed = vision});
  out.scratch_per_token = std::max(out.scratch_per_token, of_tower / tokens + 1);
  out.logits_per_token = 0;
  return out;
}

/// What one model makes of a picture and its text: features, vectors, logits of one token.
int64_t stage_bytes(const CobraConfig& config) {
  const auto projector = config.projector_config();
  return 4 * (config.towers.front().patches() * projector.vision +
              projector.tokens() * config.language.width + config.language.vocabulary);
}

int64_t CobraSizes::whole(int models, int64_t threads) const {
  const int64_t of_thread = of_tower + tokens * language.scratch_per_token + language.state +
                            std::max(stored, language.largest_layer());
  return base + models * packed() + threads * (of_thread + 2 * pixels) +
         (2 * threads + 1) * statistics;
}

CobraSizes sizes_of_cobra(const CobraDescription& model, const CobraWork& work) {
  const CobraWeights weights = read_cobra_weights(model, CobraModel::Parts::all);
  CobraSizes out;
  out.language =
      sizes_of(model.language, weights.language, work.execution, LanguageModel::Head::packed);
  std::vector<const Weights*> parts{&weights.projector};
  for (const Weights& tower : weights.towers) parts.push_back(&tower);
  for (const Weights* part : parts) {
    for (const std::string& name : part->names()) {
      const auto stored = static_cast<int64_t>(part->at(name).bytes().size());
      out.vision += packed_bytes(*part, name, work.execution);
      out.stored = std::max(out.stored, stored);
    }
  }
  // A block's tensors, and the towers' features.
  int64_t most = 0, features = 0;
  for (const VisionConfig& tower : model.config.towers) {
    most = std::max(most, tower.tokens() * (8 * tower.width + 2 * tower.hidden));
    features += tower.patches() * tower.width;
    out.pixels += 4 * 3 * tower.image * tower.image;
  }
  constexpr int64_t kOfSite = 200'000;  // with the vectors that it keeps
  out.of_tower = 4 * (most + 3 * features);
  out.statistics = (work.sites * kOfSite << work.fine) >> 8;
  out.tokens = model.config.projector_config().tokens() + work.tokens;
  out.base = base_memory(model.language, {});
  if (work.kept) out.base += kept_statistics(out.statistics);
  return out;
}

/// 0: it does not fit.
int threads_for_cobra(const CobraSizes& sizes, int models, int asked, int64_t limit) {
  for (int threads = asked;; threads = (threads + 1) / 2) {
    if (sizes.whole(models, threads) <= limit) return threads;
    if (threads == 1) return 0;
  }
}

template <class Plan>
Plan said_plan(const Job& job, const Plan& plan) {
  note(job.quiet, "scute: memory: " + plan.text());
  return plan;
}

}  // namespace

int planned_cobra(const Job& job, const CobraDescription& model, const CobraWork& work) {
  if (!job.memory) return job.threads;
  const CobraSizes sizes = sizes_of_cobra(model, work);
  const int threads =
      threads_for_cobra(sizes, work.models, Threads(job.threads).count(), *job.memory);
  if (threads == 0) {
    require_memory(sizes.whole(work.models, 1), *job.memory,
                   "Cobra, all of whose weights are in memory, and one thread");
  }
  const MemoryPlan plan{.threads = threads, .bytes = sizes.whole(work.models, threads)};
  return said_plan(job, plan).threads;
}

MemoryPlan planned_cobra_collection(const Job& job, const CobraDescription& model,
                                    const CobraWork& work, const std::string& file) {
  const CobraSizes sizes = sizes_of_cobra(model, work);
  const int asked = Threads(job.threads).count();
  warn_of_disk(file, sizes.statistics, "the statistics");
  if (!job.memory) {
    warn_of_memory(sizes.whole(1, asked));
    return {.threads = job.threads};
  }
  if (sizes.whole(1, asked) <= *job.memory || model.low_bit) {
    const int threads = planned_cobra(job, model, work);
    return {.threads = threads, .bytes = sizes.whole(1, threads)};
  }
  const PassSizes pass{.samples = std::min(kPictures, work.pictures),
                       .tokens = sizes.tokens,
                       .threads = asked,
                       .statistics = sizes.statistics,
                       .base = sizes.base + (kPictures + 2 * asked) * sizes.pixels};
  return said_plan(job, plan_by_layers(sizes.by_layers(), pass, *job.memory, output_folder(file)));
}

MemoryPlan planned_cobra_comparison(const Job& job, const CobraDescription& model,
                                    const CobraDescription& against, const CobraWork& work,
                                    const std::string& file) {
  if (!job.memory) return {.threads = job.threads};
  const CobraSizes a = sizes_of_cobra(model, work), b = sizes_of_cobra(against, work);
  const int64_t stages = 2 * stage_bytes(model.config);
  const auto whole = [&](int64_t threads) {
    return std::max(a.whole(1, threads) + b.packed(), b.whole(1, threads) + a.packed()) +
           threads * stages;
  };
  PassSizes pass{.samples = std::min(kPictures, work.pictures),
                 .tokens = a.tokens,
                 .threads = Threads(job.threads).count()};
  pass.base = a.base + pass.samples * (stages + a.pixels) + 2 * pass.threads * a.pixels;
  const auto least = [&](const CobraSizes& sizes) {
    const LanguageSizes layers = sizes.by_layers();
    return layered_bytes(layers, pass, 1) + pass.tokens * layers.stream_per_token;
  };
  MemoryPlan out{.threads = pass.threads, .bytes = whole(pass.threads)};
  if (out.bytes <= *job.memory) return said_plan(job, out);
  const int64_t by_layers = std::max(least(a), least(b));
  if (by_layers <= *job.memory) {
    out = plan_by_layers(a.by_layers(), pass, *job.memory, output_folder(file));
    const MemoryPlan other = plan_by_layers(b.by_layers(), pass, *job.memory, output_folder(file));
    if (other.bytes > out.bytes) out = other;
    out.by_layers->samples = pass.samples;
    return said_plan(job, out);
  }
  while (out.bytes > *job.memory && out.threads > 1) {
    out.threads = (out.threads + 1) / 2;
    out.bytes = whole(out.threads);
  }
  require_memory(std::min(out.bytes, by_layers), *job.memory,
                 "a layer of one Cobra at a time on one thread");
  return said_plan(job, out);
}

QuantizePlan planned_cobra_quantize(const Job& job, const CobraDescription& model,
                                    const CobraQuantizeOptions& options, const std::string& folder,
                                    const std::vector<std::string>& numbers) {
  if (!job.memory) return {.threads = job.threads};
  const CobraSizes sizes = sizes_of_cobra(model, {});
  const int threads = Threads(job.threads).count();
  // The model, what it becomes, and both once more when the folder is checked.
  const auto whole = [&](int on) {
    return said_plan(job, QuantizePlan{.threads = on, .bytes = sizes.whole(2, on)});
  };
  if (sizes.whole(2, threads) <= *job.memory) return whole(threads);
  QuantizeOptions language = options.language;
  language.format = options.of_bucket("llm");
  language.group = options.group;
  // The check has towers and projector in memory, in floats at most.
  PassSizes pass{.threads = threads, .base = base_memory(model.language, {}, numbers)};
  const ModelDescription described = cobra_language(model);
  const Weights weights = read_weights(described);
  const QuantizeSizes quantized = quantize_sizes(described, weights, language, pass);
  const int64_t vision = pass.base + sizes.vision + sizes.stored + sizes.of_tower;
  const int64_t by_layers = std::max(vision, least_quantize_bytes(sizes.language, quantized));
  // Of small models everything on one thread takes less than a layer with what is around it.
  require_memory(std::min(by_layers, sizes.whole(2, 1)), *job.memory,
                 "one layer and one matrix at a time, and towers and projector when what was "
                 "written is checked");
  if (by_layers > *job.memory) {
    return whole(threads_for_cobra(sizes, 2, threads, *job.memory));
  }
  QuantizePlan out =
      plan_quantize_by_layers(sizes.language, quantized, *job.memory, output_folder(folder));
  out.bytes = std::max(out.bytes, vision);
  out.check = FolderCheck::by_layers;
  if (out.memory.tensors_in.empty()) out.memory.tensors_in = output_folder(folder);
  return said_plan(job, out);
}

namespace {

ExperimentPlan planned_cobra_experiment(const Job& said, const CobraDescription& model,
                                        const CobraSubjectOptions& subject,
                                        const Setting& setting) {
  Job job = said;
  job.quiet = true;  // one line for all steps
  const CobraCollectOptions& collect = subject.collect;
  const CobraWork work{.execution = setting.execution,
                       .pictures = std::numeric_limits<int64_t>::max(),
                       .tokens = collect.text.length,
                       .sites = std::ssize(cobra_collection_sites(model, collect)),
                       .fine = collect.fine};
  const CobraSizes sizes = sizes_of_cobra(model, work);
  // The float model, what it becomes, and that once more to be scored.
  constexpr int kModels = 3;
  const int threads = threads_for_cobra(sizes, kModels, Threads(job.threads).count(), *job.memory);
  if (threads > 0) {
    const int64_t whole = sizes.whole(kModels, threads);
    return {.collect = {.threads = threads, .bytes = whole},
            .quantize = {.threads = threads, .bytes = whole},
            .scoring_threads = threads};
  }
  ExperimentPlan out;
  if (setting.quantize.format.eight_bit_activations()) {
    out.collect = planned_cobra_collection(job, model, work, subject.log);
    job.memory = *job.memory - sizes.statistics;  // which are there from now on
  }
  out.quantize =
      planned_cobra_quantize(job, model, cobra_quantize_options(setting), subject.log, {});
  // What it gives is not to lie in memory while models are compared.
  if (out.quantize.memory.tensors_in.empty()) {
    out.quantize.memory.tensors_in = output_folder(subject.log);
  }
  // Of weights no more than of floats, of which one model's are in memory.
  const MemoryPlan compared = planned_cobra_comparison(job, model, model, work, subject.log);
  out.scoring_threads = compared.threads;
  out.compared_by_layers = compared.by_layers;
  return out;
}

}  // namespace

std::function<ExperimentPlan(const Setting& setting)> cobra_experiment_planner(
    const Job& job, const CobraDescription& model, const CobraSubjectOptions& subject,
    const std::vector<Setting>& settings) {
  if (!job.memory) return {};
  for (const Setting& setting : settings) planned_cobra_experiment(job, model, subject, setting);
  return [&job, model, subject](const Setting& setting) {
    const ExperimentPlan out = planned_cobra_experiment(job, model, subject, setting);
    note(job.quiet, fmt::format("scute: memory: collect {}; quantize {}; compare {}",
                                out.collect.text(), out.quantize.text(),
                                MemoryPlan{.threads = out.scoring_threads,
                                           .by_layers = out.compared_by_layers,
                                           .bytes = out.quantize.bytes}
                                    .text()));
    return out;
  };
}

}  // namespace scute::cli
