#include "cli/language/memory.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "cli/terminal/machine.h"
#include "cli/terminal/progress.h"
#include "cli/terminal/room.h"
#include "scute/base/error.h"
#include "scute/base/names.h"
#include "scute/base/threads.h"
#include "scute/evaluate/continuation.h"
#include "scute/language/random_model.h"
#include "scute/recipe/memory_limit.h"

namespace scute::cli {

MemoryPlan planned_collection(const Job& job, const ModelDescription& model,
                              const CollectOptions& options, const std::string& file, bool kept) {
  const SiteList sites = list_sites(model);
  const auto chosen = sites.match(options.sites.empty() ? "layer_*" : options.sites, "--sites");
  const bool logits =
      std::ranges::any_of(chosen, [](const Site& site) { return site.name == "lm_head:output"; });
  const auto head = logits ? LanguageModel::Head::packed : LanguageModel::Head::absent;
  PassSizes pass{.samples = options.windows.samples,
                 .tokens = options.windows.seqlen,
                 .threads = Threads(job.threads).count(),
                 .statistics = statistics_bytes(sites, options.fine),
                 .base = base_memory(model, options.data)};
  if (kept) pass.base += kept_statistics(pass.statistics);
  if (options.windows.take) {
    pass.samples = *options.windows.take > pass.samples / options.windows.windows_per_document
                       ? pass.samples
                       : *options.windows.take * options.windows.windows_per_document;
  }
  const LanguageSizes sizes = sizes_of(model, read_weights(model), options.compute, head);
  warn_of_disk(file, pass.statistics, "the statistics");
  if (!job.memory) {
    warn_of_memory(memory_of_whole_pass(sizes, pass));
    return {.threads = job.threads};
  }
  const MemoryPlan plan = plan_pass(sizes, pass, job.memory, output_folder(file));
  note(job.quiet, "scute: memory: " + plan.text());
  return plan;
}

namespace {

/// `pass`: with its base; threads are decided here.
int fitting_threads(const Job& job, LanguageSizes sizes, PassSizes pass, const WholeWork& work) {
  pass.tokens = work.tokens;
  pass.statistics = work.statistics;
  const int64_t logits = work.logit_rows * std::exchange(sizes.logits_per_token, 0);
  const int asked = Threads(job.threads).count();
  for (int threads = asked;; threads = (threads + 1) / 2) {
    // Sequences that wait for a thread keep their states.
    pass.threads = threads;
    const int64_t kept = std::max<int64_t>(work.sequences, 1) * work.kept_tokens;
    const int64_t waiting = std::max<int64_t>(0, work.sequences - threads) * sizes.state;
    const int64_t bytes = memory_of_whole_pass(sizes, pass) + threads * logits +
                          kept * sizes.cache_per_token + waiting;
    if (threads == 1) require_memory(bytes, *job.memory, "all weights in memory, and one thread");
    if (bytes > *job.memory) continue;
    note(job.quiet, "scute: memory: " + MemoryPlan{.threads = threads, .bytes = bytes}.text());
    return threads;
  }
}

}  // namespace

int planned_whole(const Job& job, const ModelDescription& model, const Execution& execution,
                  const WholeWork& work) {
  if (!job.memory) return job.threads;
  return fitting_threads(job, sizes_of(model, read_weights(model), execution, work.head),
                         {.base = base_memory(model, work.texts)}, work);
}

int planned_random(const Job& job, const MambaConfig& config, const Execution& execution,
                   const WholeWork& work) {
  if (!job.memory) return job.threads;
  ModelDescription model;
  model.config = config;
  const LanguageSizes sizes = sizes_of(model, random_shapes(config), execution, work.head);
  // All of them are made before the first is packed, which then goes; the table stays.
  int64_t stored = sizes.table.stored + sizes.shared.stored;
  for (const LanguageSizes::Part& layer : sizes.layers) stored += layer.stored;
  const int64_t held = sizes.table.stored + std::max<int64_t>(0, stored - sizes.packed());
  return fitting_threads(job, sizes, {.base = base_memory(model, work.texts) + held}, work);
}

MemoryPlan planned_scoring(const Job& job, const ModelDescription& model,
                           const Execution& execution, const ScoringWork& work,
                           const std::string& file) {
  if (!job.memory) return {.threads = job.threads};
  if (!work.by_layers) {
    return {.threads = planned_whole(
                job, model, execution,
                {.tokens = work.tokens, .logit_rows = kScoredRows, .texts = work.texts})};
  }
  LanguageSizes sizes =
      sizes_of(model, read_weights(model), execution, LanguageModel::Head::packed);
  const int threads = Threads(job.threads).count();
  const int64_t logits = threads * kScoredRows * std::exchange(sizes.logits_per_token, 0);
  const PassSizes pass{.samples = work.sequences,
                       .tokens = work.tokens,
                       .threads = threads,
                       // Packing a head was seen to take its stored form once more: 818 MB in bf16,
                       // where mamba-2.8b's sizes alone say 622.
                       .base = base_memory(model, work.texts) + logits + sizes.head.stored};
  const MemoryPlan plan = plan_pass(sizes, pass, job.memory, output_folder(file));
  note(job.quiet, "scute: memory: " + plan.text());
  return plan;
}

QuantizePlan planned_quantize(const Job& job, const ModelDescription& model,
                              const QuantizeOptions& options, const std::string& folder,
                              const std::vector<std::string>& numbers,
                              const std::vector<std::string>& whole) {
  const CalibrationOptions& calibration = options.calibration;
  const PassSizes pass{.samples = calibration.windows.samples,
                       .tokens = calibration.windows.seqlen,
                       .threads = Threads(job.threads).count(),
                       .base = base_memory(model, calibration.data, numbers)};
  const Weights weights = read_weights(model);
  const auto sizes = sizes_of(model, weights, Compute::f32, LanguageModel::Head::packed);
  const QuantizeSizes quantized = quantize_sizes(model, weights, options, pass);
  require_disk(folder, quantized.results, "the low-bit model");
  if (!job.memory) return {.threads = job.threads};
  const QuantizePlan plan = plan_quantize(sizes, quantized, job.memory, output_folder(folder));
  if (plan.check == FolderCheck::by_layers && !whole.empty()) {
    fail("--memory", "more, or none, beside " + joined(whole, " and "),
         fmt::format("{}, which has room for less: {}", memory_text(*job.memory), plan.text()));
  }
  note(job.quiet, "scute: memory: " + plan.text());
  return plan;
}

namespace {

/// Threads on which windows are scored, all weights packed beside what `base` counts. Error saying
/// what one needs where that is too much.
int scoring_threads(const LanguageSizes& sizes, PassSizes pass, int64_t limit, int64_t& bytes) {
  for (;; pass.threads = (pass.threads + 1) / 2) {
    const int64_t needed = memory_of_whole_pass(sizes, pass);
    if (pass.threads == 1) {
      require_memory(needed, limit, "scoring, for which all weights are in memory");
    }
    if (needed > limit) continue;
    bytes = std::max(bytes, needed);
    return pass.threads;
  }
}

}  // namespace

ExperimentPlan planned_experiment(const Job& job, const ModelDescription& model,
                                  const SubjectOptions& subject, const Setting& setting) {
  if (!job.memory) return {};
  const int threads = Threads(job.threads).count();
  const std::string folder = output_folder(subject.log);
  const Weights weights = read_weights(model);
  PassSizes pass{.samples = subject.collect.windows.samples,
                 .tokens = subject.collect.windows.seqlen,
                 .threads = threads,
                 .statistics = statistics_bytes(list_sites(model), subject.collect.fine),
                 .base = base_memory(model, subject.collect.data)};
  ExperimentPlan out{.collect = {.threads = threads}, .quantize = {.threads = threads}};
  const LayerFormat& format = setting.quantize.format;
  if (format.eight_bit_activations() && !format.is_float()) {
    out.collect =
        plan_pass(sizes_of(model, weights, subject.collect.compute, LanguageModel::Head::absent),
                  pass, job.memory, folder);
    // The statistics are there from now on.
    pass.base += pass.statistics;
  }
  pass.statistics = 0;
  LanguageSizes scored = sizes_of(model, weights, setting.execution, LanguageModel::Head::packed);
  if (!format.is_float()) {
    QuantizeOptions how = setting.quantize;
    how.calibration.data = subject.collect.data;
    PassSizes hessians = pass;
    hessians.samples = std::min(pass.samples, subject.gptq_samples);
    const QuantizeSizes sizes = quantize_sizes(model, weights, how, hessians);
    out.quantize = plan_quantize(scored, sizes, job.memory, folder);
    pass.base += sizes.results;  // beside the model that is made of them
    scored = low_bit_sizes(scored, sizes, format, setting.execution);
  }
  if (subject.score.empty()) return out;
  pass.base += threads * kScoredRows * std::exchange(scored.logits_per_token, 0);
  pass.samples = 1;
  pass.tokens = subject.score.windows.window;
  out.scoring_threads = scoring_threads(scored, pass, *job.memory, out.quantize.bytes);
  return out;
}

std::function<ExperimentPlan(const Setting& setting)> experiment_planner(
    const Job& job, const ModelDescription& model, const SubjectOptions& subject,
    const std::vector<Setting>& settings) {
  if (!job.memory) return {};
  for (const Setting& setting : settings) planned_experiment(job, model, subject, setting);
  return [&job, model, subject](const Setting& setting) {
    const ExperimentPlan out = planned_experiment(job, model, subject, setting);
    note(job.quiet, fmt::format("scute: memory: collect {}; quantize {}", out.collect.text(),
                                out.quantize.text()));
    return out;
  };
}

}  // namespace scute::cli
