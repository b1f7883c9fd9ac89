#include "scute/experiments/run_cobra.h"

#include <fmt/format.h>

#include <filesystem>
#include <utility>

#include "scute/base/error.h"
#include "scute/base/hash.h"
#include "scute/base/names.h"
#include "scute/cobra/collect_meta.h"
#include "scute/cobra/compare.h"
#include "scute/cobra/percentile_tables.h"
#include "scute/cobra/quantize.h"
#include "scute/experiments/kept_statistics.h"
#include "scute/experiments/lap_clock.h"
#include "scute/experiments/run_record_cobra.h"
#include "scute/io/input.h"
#include "scute/recipe/plan_meta.h"
#include "scute/recipe/statistics_io.h"

namespace scute {

struct CobraSubjectState {
  CobraSubjectState(CobraSubjectOptions options_given, RunHow how_given);

  bool measure(const MemoryPlan& plan, std::vector<std::string>& warnings);

  CobraSubjectOptions options;
  RunHow how;
  InputStamps stamps;  ///< of all that is read
  CobraDescription description;
  std::string model_sha256, tokenizer_sha256, pictures_sha256;
  KeptStatistics kept;  ///< under the hash of cobra_collection_key()
};

CobraSubjectState::CobraSubjectState(CobraSubjectOptions options_given, RunHow how_given)
    : options(std::move(options_given)),
      how(std::move(how_given)),
      stamps({options.model, options.collect.text.input.tokenizer, options.collect.images,
              options.collect.text.prompts},
             written_beside(options.log)) {
  description = describe_cobra(options.model);
  if (description.low_bit) {
    fail(options.model, "a float model to quantize", "one that is quantized already");
  }
  model_sha256 = hash_cobra(description);
  tokenizer_sha256 = hash_tokenizer(description.language, options.collect.text.input.tokenizer);
  pictures_sha256 = hash_pictures(options.collect.images);
  kept.folder = std::filesystem::path(options.log).parent_path();
  kept.key =
      sha256(cobra_collection_key(model_sha256, tokenizer_sha256, pictures_sha256, options.collect)
                 .dump());
}

bool CobraSubjectState::measure(const MemoryPlan& plan, std::vector<std::string>& warnings) {
  const auto pass = [&] {
    CobraCollectResult measured = collect_cobra(description, options.collect,
                                                {.threads = plan.threads,
                                                 .progress = how.progress_of(Step::collect),
                                                 .by_layers = plan.by_layers});
    stamps.check();
    // A text may be too short for states along the way.
    std::erase_if(measured.silent_sites,
                  [](const std::string& site) { return site.ends_with(":steps"); });
    if (!measured.silent_sites.empty()) {
      warnings.push_back("no value passed at " + joined(measured.silent_sites, ", "));
    }
    return std::move(measured.statistics);
  };
  const bool reused = kept.measure(pass, warnings);
  check_buckets(*kept.set, false);
  require_finite(CobraSites(description.config, description.language.scheme).list(), *kept.set);
  return reused;
}

namespace {

/// Of a rule of its own: nothing where each site has its default.
std::optional<Policy> cobra_policy(const Setting& setting) {
  if (setting.policy == kDefaultPolicy && !setting.alpha) return std::nullopt;
  return setting.parsed_policy();
}

}  // namespace

CobraQuantizeOptions cobra_quantize_options(const Setting& setting) {
  CobraQuantizeOptions out;
  out.format = setting.quantize.format;
  out.group = setting.quantize.group;
  out.policy = cobra_policy(setting);
  out.language = setting.quantize;
  return out;
}

namespace {

bool needs_ranges(const Setting& setting) {
  return setting.quantize.format.eight_bit_activations();
}

Json cobra_config(const CobraSubjectState& subject, const Setting& setting) {
  const CobraQuantizeOptions q = cobra_quantize_options(setting);
  Json out;
  out["model"] = subject.options.model;
  out["w_bits"] = q.format.weight_bits;
  out["a_bits"] = q.format.activation_bits;
  out["percentile_alpha"] = setting.alpha ? Json(*setting.alpha) : Json();
  out["group_heads"] = q.language.group_heads;
  out["apply_gptq"] = q.language.gptq;
  out["policy"] = needs_ranges(setting) ? Json(setting.policy) : Json();
  out["model_kind"] = "cobra";
  out["sites"] = subject.options.collect.sites;
  out["group_size"] = q.group;
  out["hadamard"] = q.language.hadamard;
  out["compute"] = setting.execution.compute == Compute::f32 ? "f32" : "bf16";
  out["backend"] = setting.execution.backend == Backend::integer ? "integer" : "simulate";
  return out;
}

Json cobra_key(const CobraSubjectState& subject, const Setting& setting) {
  const CobraQuantizeOptions q = cobra_quantize_options(setting);
  Json key;
  key["model"] = subject.model_sha256;
  key["tokenizer"] = subject.tokenizer_sha256;
  key["pictures"] = subject.pictures_sha256;
  key["text"] = text_key(subject.options.collect.text);
  key["max_pictures"] = subject.options.max_pictures ? Json(*subject.options.max_pictures) : Json();
  key["quantize"] = q.to_json();
  if (!needs_ranges(setting)) key["quantize"]["policy"] = nullptr;
  key["language"] = q.language.to_json();
  key["statistics"] = needs_ranges(setting) ? Json(subject.kept.key) : Json();
  key["config"] = cobra_config(subject, setting);
  // The same model under another path is the same experiment, and so is a rule in other words.
  for (const char* spelling : {"model", "policy", "percentile_alpha", "sites"}) {
    key["config"][spelling] = nullptr;
  }
  return key;
}

/// One experiment on its way.
class CobraTrial {
 public:
  CobraTrial(CobraSubjectState& subject, const Setting& setting)
      : subject_(subject), setting_(setting) {
    if (subject.how.plan) {
      work_ = subject.how.plan(setting);
    } else {
      work_.collect.threads = work_.quantize.threads = work_.scoring_threads = subject.how.threads;
    }
    facts_.timestamp = subject.how.local_time("%Y-%m-%d %H:%M:%S");
    facts_.command = setting.command;
    facts_.machine = subject.how.machine;
    facts_.config = cobra_config(subject, setting);
    facts_.key = cobra_key(subject, setting);
    facts_.hashes["model"] = subject.model_sha256;
    facts_.hashes["against"] = subject.model_sha256;
    facts_.hashes["tokenizer"] = subject.tokenizer_sha256;
  }

  Experiment run();

 private:
  LowBitCobra quantized();
  PictureComparison compared(const LowBitCobra& low) const;
  void score(const LowBitCobra& low);
  void record();

  CobraSubjectState& subject_;
  const Setting& setting_;
  ExperimentPlan work_;
  LapClock clock_, whole_;
  EvaluationFacts facts_;
  Experiment out_;
};

LowBitCobra CobraTrial::quantized() {
  const KeptStatistics& kept = subject_.kept;
  const StatisticsSet* statistics = nullptr;
  Plan plan;
  clock_.lap();
  facts_.timing["collect"] = 0;
  if (needs_ranges(setting_)) {
    out_.reused = subject_.measure(work_.collect, out_.warnings);
    const double seconds = clock_.lap();
    if (!out_.reused) facts_.timing["collect"] = seconds;
    statistics = &*kept.set;
    plan.meta = plan_meta(*kept.set, kept.sha256);
    plan.meta["policy"] = setting_.policy;
    plan.meta["bits"] = 8;
    plan.meta["symmetric"] = true;
    facts_.hashes["statistics"] = kept.sha256.empty() ? Json() : Json(kept.sha256);
    facts_.files["statistics"] = kept.file.empty() ? Json() : Json(kept.file);
  }
  LowBitCobra low =
      quantize_cobra(subject_.description, plan, statistics, cobra_quantize_options(setting_),
                     work_.quantize.threads, {}, work_.quantize.memory);
  if (statistics != nullptr) {
    facts_.activation_stats = activation_stats(*statistics, low.plan, setting_.logged, {});
  }
  out_.thin = thin_tails(low.plan.sites);
  out_.remarks = low.remarks;
  facts_.timing["quantize"] = clock_.lap();
  return low;
}

/// The float model is read for each experiment: kept, it would lie in memory beside the next
/// quantization.
PictureComparison CobraTrial::compared(const LowBitCobra& low) const {
  constexpr auto kAll = CobraModel::Parts::all, kVision = CobraModel::Parts::vision;
  const CobraCompareOptions options{.images = subject_.options.collect.images,
                                    .text = subject_.options.collect.text,
                                    .max_pictures = subject_.options.max_pictures,
                                    .threads = work_.scoring_threads,
                                    .progress = subject_.how.progress_of(Step::pictures)};
  const CobraDescription& against = subject_.description;
  const Execution& execution = setting_.execution;
  if (!work_.compared_by_layers) {
    return compare_cobra(low.description, build_cobra(low, execution, kAll), against,
                         load_cobra(against, execution, kAll), options);
  }
  const std::string& folder = work_.compared_by_layers->folder;
  Weights language = low.language ? tensors_of(*low.language) : read_weights(low.float_language);
  LayeredCobra ours(
      low.description.config, [&] { return build_cobra(low, execution, kVision); },
      layered_language(low.description, std::move(language), execution), folder);
  LayeredCobra theirs = load_layered_cobra(against, execution, folder);
  return compare_cobra(low.description, ours, against, theirs, work_.compared_by_layers->samples,
                       options);
}

void CobraTrial::score(const LowBitCobra& low) {
  const PictureComparison comparison = compared(low);
  out_.not_finite = comparison.not_finite();
  subject_.stamps.check();
  for (const std::string& problem : comparison.corrupt) {
    out_.warnings.push_back("passed over " + problem);
  }
  facts_.hashes["pictures"] = comparison.pictures_sha256;
  add_pictures(comparison, subject_.options.collect.images, subject_.model_sha256, facts_);
  facts_.timing["eval"] = clock_.lap();
}

void CobraTrial::record() {
  subject_.stamps.check();
  facts_.seconds = whole_.lap();
  out_.record = evaluation_record(facts_);
  try {
    log_evaluation(subject_.options.log, facts_);
    out_.recorded = true;
  } catch (const Error& error) {
    out_.warnings.push_back(fmt::format("record not kept: {}", error.what()));
  }
}

Experiment CobraTrial::run() {
  score(quantized());
  record();
  return std::move(out_);
}

}  // namespace

CobraSubject::CobraSubject(CobraSubjectOptions options, RunHow how)
    : state_(std::make_unique<CobraSubjectState>(std::move(options), std::move(how))) {}

CobraSubject::~CobraSubject() = default;

const std::string& CobraSubject::name() const { return state_->description.name; }

std::string CobraSubject::key(const Setting& setting) const {
  return experiment_hash(cobra_key(*state_, setting));
}

Experiment CobraSubject::run(const Setting& setting) { return CobraTrial(*state_, setting).run(); }

}  // namespace scute
