#include "scute/experiments/subject.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "scute/base/error.h"
#include "scute/base/hash.h"
#include "scute/io/file.h"
#include "scute/language/collect.h"
#include "scute/language/collect_meta.h"
#include "scute/recipe/plan_meta.h"
#include "scute/recipe/statistics_io.h"

namespace scute {
namespace {

namespace fs = std::filesystem;

/// All that is read, of a subject's model and of what it is measured and scored on.
std::vector<std::string> inputs_of(const SubjectOptions& options) {
  std::vector<std::string> out = options.collect.data;
  out.insert(out.end(), {options.model, options.collect.input.tokenizer, options.score.perplexity,
                         options.score.last_word});
  return out;
}

ScoredFiles hashes_of(const ScoreOptions& score) {
  const auto hash = [&](const std::string& file) {
    return file.empty() ? std::string() : score.input.files->sha256(file);
  };
  return {hash(score.perplexity), hash(score.last_word), ""};
}

}  // namespace

SubjectState::SubjectState(SubjectOptions options_given, RunHow how_given)
    : options(std::move(options_given)),
      how(std::move(how_given)),
      stamps(inputs_of(options), written_beside(options.log)) {
  description = describe_model(options.model);
  if (description.low_bit) {
    fail(options.model, "a float model to quantize", "one that is quantized already");
  }
  kept.folder = fs::path(options.log).parent_path();
  scored_sha256 = hashes_of(options.score);
  work = read_score_work(description, options.score);
  for (const std::string& file : options.collect.data) {
    data_sha256.push_back(options.collect.input.files->sha256(file));
  }
  model_sha256 = hash_model(description);
  tokenizer_sha256 = hash_tokenizer(description, options.collect.input.tokenizer);
  scored_sha256.tokenizer = tokenizer_sha256;
  kept.key = sha256(collection_key(model_sha256, tokenizer_sha256, options.collect).dump());
  calibration.data = options.collect.data;
  calibration.windows = options.collect.windows;
  calibration.windows.samples = std::min(calibration.windows.samples, options.gptq_samples);
  calibration.input = options.collect.input;
}

std::function<void(int64_t, int64_t)> SubjectState::progress(Step step) const {
  return how.progress_of(step);
}

ExperimentPlan SubjectState::plan(const Setting& setting) const {
  if (how.plan) return how.plan(setting);
  return {.collect = {.threads = how.threads},
          .quantize = {.threads = how.threads},
          .scoring_threads = how.threads};
}

bool SubjectState::measure(const MemoryPlan& how_collect, std::vector<std::string>& warnings) {
  const auto pass = [this, &how_collect, &warnings] {
    CollectResult result = collect(description, options.collect,
                                   {.threads = how_collect.threads,
                                    .progress = progress(Step::collect),
                                    .by_layers = how_collect.by_layers});
    if (result.bad_lines.count > 0) warnings.push_back(result.bad_lines.summary());
    return std::move(result.statistics);
  };
  const bool reused = kept.measure(pass, warnings);
  require_finite(list_sites(description), *kept.set);
  return reused;
}

Plan SubjectState::decide(const Setting& setting) const {
  PlanOptions plan_options;
  plan_options.policy = setting.parsed_policy();
  plan_options.threads = how.threads;
  Plan plan = make_plan(kept.set->sites, plan_options);
  plan.meta = plan_meta(*kept.set, kept.sha256);
  plan.meta["policy"] = setting.policy;
  plan.meta["percentile_alpha"] = plan_options.policy.alpha;
  plan.meta["bits"] = 8;
  plan.meta["symmetric"] = true;
  return plan;
}

const Hessians* SubjectState::grams(const Setting& setting, const QuantizePlan& how_quantize) {
  if (!setting.quantize.gptq || how_quantize.memory.hessians_by_layers) return nullptr;
  if (!hessians) {
    hessians =
        measure_hessians(description, calibration,
                         {.threads = how_quantize.threads, .progress = progress(Step::hessians)});
  }
  return &*hessians;
}

LowBitModel SubjectState::quantized(const Setting& setting, const Plan& plan,
                                    const QuantizePlan& how_quantize) {
  QuantizeOptions quantize_options = setting.quantize;
  quantize_options.calibration = calibration;
  return quantize(description, plan, kept.set ? &*kept.set : nullptr, grams(setting, how_quantize),
                  quantize_options, how_quantize.threads, {}, how_quantize.memory);
}

Scores SubjectState::scores(const LanguageModel& model, int threads) const {
  const auto show = [this](ScoreTask task, int64_t done, int64_t total) {
    if (!how.progress) return;
    how.progress(task == ScoreTask::perplexity ? Step::perplexity : Step::last_word, done, total);
  };
  return score(model, work, options.score, Threads(threads), show);
}

}  // namespace scute
