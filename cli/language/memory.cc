#include "cli/language/memory.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <utility>

#include "cli/terminal/machine.h"
#include "cli/terminal/progress.h"
#include "scute/base/error.h"
#include "scute/base/names.h"
#include "scute/base/threads.h"
#include "scute/recipe/memory_limit.h"

namespace scute::cli {
namespace {

/// Where what does not fit in memory is put: beside the output, whose disk was chosen for it.
std::string scratch_folder(const std::string& output) {
  const auto folder = std::filesystem::path(output).parent_path();
  return folder.empty() ? "." : folder.string();
}

}  // namespace

MemoryPlan planned_collection(const Job& job, const ModelDescription& model,
                              const CollectOptions& options, const std::string& file) {
  if (!job.memory) return {.threads = job.threads};
  const SiteList sites = list_sites(model);
  const auto chosen = sites.match(options.sites.empty() ? "layer_*" : options.sites, "--sites");
  const bool logits =
      std::ranges::any_of(chosen, [](const Site& site) { return site.name == "lm_head:output"; });
  const auto head = logits ? LanguageModel::Head::packed : LanguageModel::Head::absent;
  PassSizes pass{.samples = options.windows.samples,
                 .tokens = options.windows.seqlen,
                 .threads = Threads(job.threads).count(),
                 .statistics = statistics_bytes(sites, options.fine),
                 .base = base_memory(peak_memory(), model, options.data)};
  if (options.windows.take) {
    pass.samples =
        std::min(pass.samples, *options.windows.take * options.windows.windows_per_document);
  }
  const MemoryPlan plan = plan_pass(sizes_of(model, read_weights(model), options.compute, head),
                                    pass, job.memory, scratch_folder(file));
  note(job.quiet, "scute: memory: " + plan.text());
  return plan;
}

int planned_whole(const Job& job, const ModelDescription& model, const Execution& execution,
                  const WholeWork& work) {
  if (!job.memory) return job.threads;
  LanguageSizes sizes = sizes_of(model, read_weights(model), execution, work.head);
  const int64_t logits = work.logit_rows * std::exchange(sizes.logits_per_token, 0);
  PassSizes pass{.tokens = work.tokens,
                 .statistics = work.statistics,
                 .base = base_memory(peak_memory(), model, work.texts)};
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

QuantizePlan planned_quantize(const Job& job, const ModelDescription& model,
                              const QuantizeOptions& options, const std::string& folder,
                              const std::vector<std::string>& whole) {
  if (!job.memory) return {.threads = job.threads};
  const CalibrationOptions& calibration = options.calibration;
  const PassSizes pass{.samples = calibration.windows.samples,
                       .tokens = calibration.windows.seqlen,
                       .threads = Threads(job.threads).count(),
                       .base = base_memory(peak_memory(), model, calibration.data)};
  const Weights weights = read_weights(model);
  const auto sizes = sizes_of(model, weights, Compute::f32, LanguageModel::Head::packed);
  const QuantizePlan plan = plan_quantize(sizes, quantize_sizes(model, weights, options, pass),
                                          job.memory, scratch_folder(folder));
  if (plan.check == FolderCheck::by_layers && !whole.empty()) {
    fail("--memory", "more, or none, beside " + joined(whole, " and "),
         fmt::format("{}, which has room for less: {}", memory_text(*job.memory), plan.text()));
  }
  note(job.quiet, "scute: memory: " + plan.text());
  return plan;
}

void require_experiment(const Job& job, const ModelDescription& model,
                        const SubjectOptions& subject, const Setting& setting) {
  if (!job.memory) return;
  QuantizeOptions how = setting.quantize;
  how.calibration.windows.samples = subject.gptq_samples;
  how.calibration.windows.seqlen = subject.collect.windows.seqlen;
  PassSizes pass{.samples = std::max(subject.collect.windows.samples, subject.gptq_samples),
                 .tokens = std::max(subject.collect.windows.seqlen, subject.score.windows.window),
                 .threads = Threads(job.threads).count(),
                 .statistics = statistics_bytes(list_sites(model), subject.collect.fine),
                 .base = base_memory(peak_memory(), model, subject.collect.data)};
  const Weights weights = read_weights(model);
  LanguageSizes sizes = sizes_of(model, weights, setting.execution, LanguageModel::Head::packed);
  sizes.logits_per_token = 0;  // of scores 64 rows at once
  const int64_t passes = memory_of_whole_pass(sizes, pass);
  const int64_t rounding =
      plan_quantize(sizes, quantize_sizes(model, weights, how, pass), std::nullopt, "").bytes;
  require_memory(std::max(passes, rounding), *job.memory,
                 "an experiment, which has everything in memory (collect, quantize and eval one "
                 "after the other take less)");
}

}  // namespace scute::cli
