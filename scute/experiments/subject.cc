#include "scute/experiments/subject.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "scute/base/error.h"
#include "scute/io/file.h"
#include "scute/recipe/collect_meta.h"
#include "scute/recipe/plan_meta.h"
#include "scute/recipe/statistics_io.h"

namespace scute {
namespace {

namespace fs = std::filesystem;

std::string hash_or_empty(const std::string& file) { return file.empty() ? "" : hash_file(file); }

}  // namespace

SubjectState::SubjectState(SubjectOptions options_given, RunHow how_given)
    : options(std::move(options_given)), how(std::move(how_given)) {
  description = describe_model(options.model);
  if (description.low_bit) {
    fail(options.model, "a float model to quantize", "one that is quantized already");
  }
  folder = fs::path(options.log).parent_path();
  work = read_score_work(description, options.score);
  model_sha256 = hash_model(description);
  tokenizer_sha256 = hash_tokenizer(description, options.collect.tokenizer);
  collection = collection_key(model_sha256, tokenizer_sha256, options.collect);
  perplexity_sha256 = hash_or_empty(options.score.perplexity);
  last_word_sha256 = hash_or_empty(options.score.last_word);
  calibration.data = options.collect.data;
  calibration.windows = options.collect.windows;
  calibration.windows.samples = std::min(calibration.windows.samples, options.gptq_samples);
  calibration.tokenizer = options.collect.tokenizer;
}

std::function<void(int64_t, int64_t)> SubjectState::progress(Step step) const {
  if (!how.progress) return {};
  how.progress(step, 0, 1);
  return [this, step](int64_t done, int64_t total) { how.progress(step, done, total); };
}

bool SubjectState::measure(std::vector<std::string>& warnings) {
  if (statistics) return true;
  const fs::path file = fs::path("statistics") / (collection + ".safetensors");
  statistics_file = file.string();
  const std::string path = (folder / file).string();
  if (fs::exists(path)) {
    try {
      statistics = read_statistics(path);
      statistics_sha256 = hash_file(path);
      return true;
    } catch (const Error& error) {
      warnings.push_back(fmt::format("{}; measured again", error.what()));
    }
  }
  statistics = collect(description, options.collect,
                       {.threads = how.threads, .progress = progress(Step::collect)})
                   .statistics;
  store(warnings);
  return false;
}

void SubjectState::store(std::vector<std::string>& warnings) {
  try {
    const std::string path = (folder / statistics_file).string();
    make_folder(folder / "statistics");
    write_statistics(path, *statistics);
    statistics_sha256 = hash_file(path);
  } catch (const Error& error) {
    warnings.push_back(fmt::format("statistics not kept: {}", error.what()));
    statistics_file.clear();
  }
}

Plan SubjectState::decide(const Setting& setting) const {
  PlanOptions plan_options;
  plan_options.policy = setting.parsed_policy();
  Plan plan = make_plan(statistics->sites, plan_options);
  plan.meta = plan_meta(*statistics, statistics_sha256);
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
  return quantize(description, plan, statistics ? &*statistics : nullptr, grams(setting),
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
