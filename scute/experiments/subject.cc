#include "scute/experiments/subject.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "scute/base/error.h"
#include "scute/io/file.h"
#include "scute/language/collect.h"
#include "scute/language/collect_meta.h"
#include "scute/recipe/plan_meta.h"
#include "scute/recipe/statistics_io.h"

namespace scute {
namespace {

namespace fs = std::filesystem;

std::string hash_or_empty(const std::string& file) { return file.empty() ? "" : hash_file(file); }

ScoredFiles hashes_of(const ScoreOptions& score) {
  return {hash_or_empty(score.perplexity), hash_or_empty(score.last_word), ""};
}

std::vector<std::string> hashes_of(const std::vector<std::string>& files) {
  std::vector<std::string> out;
  for (const std::string& file : files) out.push_back(hash_file(file));
  return out;
}

/// A file that changes while it is read would be recorded under a hash that is not its own.
void check_unchanged(const std::string& file, const std::string& before, const std::string& after) {
  if (before != after) fail(file, "the same bytes from the beginning to the end", "it was changed");
}

}  // namespace

SubjectState::SubjectState(SubjectOptions options_given, RunHow how_given)
    : options(std::move(options_given)),
      how(std::move(how_given)),
      stamps({options.model, options.collect.input.tokenizer}) {
  description = describe_model(options.model);
  if (description.low_bit) {
    fail(options.model, "a float model to quantize", "one that is quantized already");
  }
  kept.folder = fs::path(options.log).parent_path();
  scored_sha256 = hashes_of(options.score);
  work = read_score_work(description, options.score);
  const ScoredFiles after = hashes_of(options.score);
  check_unchanged(options.score.perplexity, scored_sha256.perplexity, after.perplexity);
  check_unchanged(options.score.last_word, scored_sha256.last_word, after.last_word);
  data_sha256 = hashes_of(options.collect.data);
  model_sha256 = hash_model(description);
  tokenizer_sha256 = hash_tokenizer(description, options.collect.input.tokenizer);
  scored_sha256.tokenizer = tokenizer_sha256;
  kept.key = collection_key(model_sha256, tokenizer_sha256, options.collect);
  calibration.data = options.collect.data;
  calibration.windows = options.collect.windows;
  calibration.windows.samples = std::min(calibration.windows.samples, options.gptq_samples);
  calibration.input = options.collect.input;
}

std::function<void(int64_t, int64_t)> SubjectState::progress(Step step) const {
  return how.progress_of(step);
}

bool SubjectState::measure(std::vector<std::string>& warnings) {
  const auto pass = [this, &warnings] {
    CollectResult result = collect(description, options.collect,
                                   {.threads = how.threads, .progress = progress(Step::collect)});
    if (result.bad_lines.count > 0) warnings.push_back(result.bad_lines.summary());
    StatisticsSet measured = std::move(result.statistics);
    const std::vector<std::string> after = hashes_of(options.collect.data);
    for (size_t i = 0; i < after.size(); ++i) {
      check_unchanged(options.collect.data[i], data_sha256[i], after[i]);
    }
    return measured;
  };
  const bool reused = kept.measure(pass, warnings);
  require_finite(list_sites(description), *kept.set);
  return reused;
}

Plan SubjectState::decide(const Setting& setting) const {
  PlanOptions plan_options;
  plan_options.policy = setting.parsed_policy();
  Plan plan = make_plan(kept.set->sites, plan_options);
  plan.meta = plan_meta(*kept.set, kept.sha256);
  plan.meta["policy"] = setting.policy;
  plan.meta["percentile_alpha"] = plan_options.policy.alpha;
  plan.meta["bits"] = 8;
  plan.meta["symmetric"] = true;
  return plan;
}

const Hessians* SubjectState::grams(const Setting& setting) {
  if (!setting.quantize.gptq) return nullptr;
  if (!hessians) {
    hessians = measure_hessians(description, calibration,
                                {.threads = how.threads, .progress = progress(Step::hessians)});
  }
  return &*hessians;
}

LowBitModel SubjectState::quantized(const Setting& setting, const Plan& plan) {
  QuantizeOptions quantize_options = setting.quantize;
  quantize_options.calibration = calibration;
  return quantize(description, plan, kept.set ? &*kept.set : nullptr, grams(setting),
                  quantize_options);
}

Scores SubjectState::scores(const LanguageModel& model) const {
  const auto show = [this](ScoreTask task, int64_t done, int64_t total) {
    if (!how.progress) return;
    how.progress(task == ScoreTask::perplexity ? Step::perplexity : Step::last_word, done, total);
  };
  return score(model, work, options.score, Threads(how.threads), show);
}

}  // namespace scute
