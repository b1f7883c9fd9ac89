#include "scute/experiments/run.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <optional>
#include <utility>

#include "scute/base/error.h"
#include "scute/base/hash.h"
#include "scute/experiments/lap_clock.h"
#include "scute/experiments/log.h"
#include "scute/experiments/subject.h"
#include "scute/io/file.h"
#include "scute/io/npy.h"
#include "scute/language/calibration.h"

namespace scute {
namespace {

namespace fs = std::filesystem;

constexpr size_t kIdDigits = 12;

Json or_null(const std::string& text) { return text.empty() ? Json() : Json(text); }
Json or_null(const std::optional<int64_t>& n) { return n ? Json(*n) : Json(); }

/// Keys of this field's logs first, then every other option.
Json config_json(const SubjectOptions& shared, const Setting& setting) {
  const QuantizeOptions& q = setting.quantize;
  Json out;
  out["model"] = shared.model;
  out["w_bits"] = q.format.weight_bits;
  out["a_bits"] = q.format.activation_bits;
  out["percentile_alpha"] = setting.alpha ? Json(*setting.alpha) : Json();
  out["group_heads"] = q.group_heads;
  out["apply_gptq"] = q.gptq;
  out["quantize_embedding"] = q.embedding;
  out["quantize_lm_head"] = q.head;
  out["calib_data_num"] = shared.collect.windows.samples;
  out["calib_seqlen"] = shared.collect.windows.seqlen;
  out["policy"] = q.format.eight_bit_activations() ? Json(setting.policy) : Json();
  const Json every = q.to_json();
  for (const auto& [name, value] : every.as_object("")) {
    if (name != "gptq") out[name] = value;
  }
  out["compute"] = setting.execution.compute == Compute::f32 ? "f32" : "bf16";
  out["backend"] = setting.execution.backend == Backend::integer ? "integer" : "simulate";
  return out;
}

std::string key_of(const SubjectState& subject, const Setting& setting) {
  const ScoreOptions& score = subject.options.score;
  const bool ranges = setting.quantize.format.eight_bit_activations();
  Json key;
  key["tool"] = "scute " SCUTE_VERSION;
  key["model"] = subject.model_sha256;
  key["tokenizer"] = subject.tokenizer_sha256;
  key["config"] = config_json(subject.options, setting);
  // The same model under another path is the same experiment, and so is a rule in other words.
  for (const char* spelling : {"model", "policy", "percentile_alpha"}) {
    key["config"][spelling] = nullptr;
  }
  key["policy"] = ranges ? Json(setting.parsed_policy().name()) : Json();
  key["statistics"] = ranges ? Json(subject.kept.key) : Json();
  key["gptq_samples"] = setting.quantize.gptq ? Json(subject.calibration.windows.samples) : Json();
  key["perplexity"] = subject.scored_sha256.perplexity;
  key["window"] = score.windows.window;
  key["stride"] = score.windows.stride;
  key["context"] = score.windows.context;
  key["stepwise"] = score.windows.feed == Feed::one_by_one;
  key["max_windows"] = or_null(score.windows.max_windows);
  key["last_word"] = subject.scored_sha256.last_word;
  key["max_items"] = or_null(score.max_items);
  key["max_context"] = score.max_context;
  if (const std::string flags = score.input.flags(); !flags.empty()) key["input"] = flags;
  return sha256(key.dump());
}

/// `measured`: whether this experiment has statistics; another one of the subject may have had.
Json hashes_json(const SubjectState& subject, const std::string& key, bool measured) {
  Json out;
  out["experiment"] = key;
  out["model"] = subject.model_sha256;
  out["tokenizer"] = or_null(subject.tokenizer_sha256);
  out["data"] = Json::array();
  for (size_t i = 0; i < subject.data_sha256.size(); ++i) {
    Json file;
    file["file"] = fs::path(subject.options.collect.data[i]).filename().string();
    file["sha256"] = subject.data_sha256[i];
    out["data"].push_back(std::move(file));
  }
  const StatisticsSet* seen = measured ? &*subject.kept.set : nullptr;
  const Json* windows = seen == nullptr ? nullptr : seen->meta.find("windows_sha256");
  out["windows"] = windows == nullptr ? Json() : *windows;
  out["statistics"] = or_null(measured ? subject.kept.sha256 : "");
  return out;
}

/// What was there to measure; config says what was asked for.
Json calibration_json(const StatisticsSet& statistics) {
  Json out;
  for (const char* key : {"samples", "tokens"}) {
    const Json* value = statistics.meta.find(key);
    out[key] = value == nullptr ? Json() : *value;
  }
  return out;
}

/// One experiment on its way; its steps are called in the order in which they stand.
class Trial {
 public:
  Trial(SubjectState& subject, const Setting& setting)
      : subject_(subject),
        setting_(setting),
        plan_of_work_(subject.plan(setting)),
        key_(key_of(subject, setting)) {
    Json& record = out_.record;
    record["timestamp"] = subject.how.local_time("%Y-%m-%d %H:%M:%S");
    record["command"] = setting.command;
    record["config"] = config_json(subject.options, setting);
  }

  void check();
  void measure_and_decide();
  void quantize_and_score();
  void write_record();
  Experiment take() { return std::move(out_); }

 private:
  bool is_float() const { return setting_.quantize.format.is_float(); }
  /// Ranges matter only where activations are rounded.
  bool measured() const { return setting_.quantize.format.eight_bit_activations(); }
  Scores low_bit_scores();
  std::string beside_log(const std::string& path) const;
  std::string write_items() const;
  std::string write_values() const;
  /// What `write` gives; "" and a warning when it fails.
  template <class Write>
  std::string attempt(const char* what, Write write);

  SubjectState& subject_;
  const Setting& setting_;
  const ExperimentPlan plan_of_work_;
  std::optional<FolderWriter> folder_;  ///< claimed from the beginning
  std::string key_;
  LapClock clock_, whole_;
  Plan plan_;
  Scores scores_;
  Json timing_;
  Experiment out_;
};

void Trial::check() {
  const QuantizeOptions& q = setting_.quantize;
  const Policy policy = setting_.parsed_policy();
  if (q.group_heads && setting_.alpha && policy.kind == PolicyKind::quamba) {
    fail("--percentile-alpha",
         "--group-percentile in its place: with --group-heads the policy quamba has no percentile",
         fmt::format("{}", *setting_.alpha));
  }
  if (subject_.options.collect.data.empty() && (q.format.eight_bit_activations() || q.gptq)) {
    fail("--data", "texts to calibrate 8-bit activations or GPTQ on", "none");
  }
  if (!setting_.checkpoint.empty() && is_float()) {
    fail("--output-subdir", "a low-bit model to keep", "floats, which are the model as it is");
  }
  if (setting_.checkpoint.empty()) return;
  make_folder(fs::path(setting_.checkpoint).parent_path());
  folder_.emplace(setting_.checkpoint,
                  FolderRules{.sources = {subject_.description.path}, .replace = setting_.replace});
}

void Trial::measure_and_decide() {
  clock_.lap();
  if (subject_.work.bad_lines.count > 0) {
    out_.warnings.push_back(subject_.work.bad_lines.summary());
  }
  if (measured()) out_.reused = subject_.measure(plan_of_work_.collect, out_.warnings);
  const double seconds = clock_.lap();
  timing_["collect"] = measured() && !out_.reused ? seconds : 0;
  std::vector<ReorderEffect> reorder;
  if (measured()) {
    plan_ = subject_.decide(setting_);
    out_.thin = thin_tails(plan_.sites);
    if (setting_.quantize.group_heads) {
      plan_ = grouped_plan(std::move(plan_), subject_.description, *subject_.kept.set,
                           setting_.quantize.group_percentile);
      reorder = reorder_effect(subject_.description, *subject_.kept.set, plan_);
    }
  }
  timing_["decide"] = clock_.lap();
  // Before the long part: a wrong --log-sites is found now.
  out_.record["activation_stats"] =
      measured() ? activation_stats(*subject_.kept.set, plan_, setting_.logged, reorder)
                 : Json::object();
  out_.record["reorder_summary"] = reorder_summary(reorder);
}

Scores Trial::low_bit_scores() {
  const LowBitModel low = subject_.quantized(setting_, plan_, plan_of_work_.quantize);
  out_.remarks = low.remarks;
  if (folder_) {
    write_low_bit(low, *folder_, plan_of_work_.quantize.check);
    out_.checkpoint = setting_.checkpoint;
  }
  timing_["quantize"] = clock_.lap();
  if (subject_.options.score.empty()) return {};
  return subject_.scores(build_model(low, setting_.execution), plan_of_work_.scoring_threads);
}

void Trial::quantize_and_score() {
  clock_.lap();
  timing_["quantize"] = 0;
  const bool scored = !subject_.options.score.empty();
  if (is_float() && scored) {
    scores_ = subject_.scores(
        load_model(subject_.description, setting_.execution, LanguageModel::Head::packed),
        plan_of_work_.scoring_threads);
  } else if (scored || !setting_.checkpoint.empty()) {
    scores_ = low_bit_scores();
  }
  timing_["eval"] = clock_.lap();
  out_.not_finite = scores_.not_finite;
  out_.record["results"] = results_json(scores_, subject_.options.score, subject_.scored_sha256);
}

std::string Trial::write_items() const {
  const std::string file = (fs::path("items") / (key_.substr(0, kIdDigits) + ".jsonl")).string();
  make_folder(subject_.kept.folder / "items");
  write_file((subject_.kept.folder / file).string(), items_text(scores_, subject_.work.items));
  return file;
}

/// As the log's folder sees it; "" for "".
std::string Trial::beside_log(const std::string& path) const {
  if (path.empty()) return "";
  std::error_code error;
  const fs::path folder = subject_.kept.folder.empty() ? fs::path(".") : subject_.kept.folder;
  return fs::proximate(path, folder, error).string();
}

/// The first values of the first sample at the logged sites, of the float model.
std::string Trial::write_values() const {
  CollectOptions first = subject_.options.collect;
  first.windows.samples = 1;
  first.sites = setting_.logged.sites;
  first.save_activations = *setting_.save_activations;
  CollectResult seen = collect(
      subject_.description, first,
      {.threads = plan_of_work_.collect.threads, .by_layers = plan_of_work_.collect.by_layers});
  std::erase_if(seen.activations,
                [&](const NamedTensor& values) { return !setting_.logged.has(values.name); });
  const std::string rule =
      setting_.alpha ? fmt::format("pa{}", *setting_.alpha) : setting_.parsed_policy().name();
  std::string stem = fmt::format("activations_{}_{}_{}", subject_.description.name, rule,
                                 subject_.how.local_time("%Y%m%d_%H%M%S"));
  std::ranges::replace(stem, ':', '-');
  make_folder(subject_.kept.folder);
  std::string file = stem + ".npz";
  std::error_code unreadable;
  for (int again = 2; fs::exists(subject_.kept.folder / file, unreadable); ++again) {
    file = fmt::format("{}_{}.npz", stem, again);  // two within a second
  }
  write_npz((subject_.kept.folder / file).string(), seen.activations);
  return file;
}

template <class Write>
std::string Trial::attempt(const char* what, Write write) {
  try {
    return write();
  } catch (const Error& error) {
    out_.warnings.push_back(fmt::format("{} not kept: {}", what, error.what()));
    return "";
  }
}

void Trial::write_record() {
  subject_.stamps.check();  // a record must not name another model than the one that was read
  clock_.lap();
  const bool scored = scores_.perplexity || scores_.last_word;
  const std::string items = scored ? attempt("scores of items", [&] { return write_items(); }) : "";
  const std::string values = setting_.save_activations.value_or(0) > 0
                                 ? attempt("activations", [&] { return write_values(); })
                                 : "";
  Json& record = out_.record;
  record["activation_data_file"] = or_null(values);
  record["id"] = key_.substr(0, kIdDigits);
  record["hashes"] = hashes_json(subject_, key_, measured());
  record["calibration"] = measured() ? calibration_json(*subject_.kept.set) : Json();
  record["machine"] = subject_.how.machine;
  record["version"] = SCUTE_VERSION;
  timing_["record"] = clock_.lap();
  timing_["total"] = whole_.lap();
  record["timing"] = timing_;
  Json files;
  files["statistics"] = or_null(measured() ? subject_.kept.file : "");
  files["items"] = or_null(items);
  files["checkpoint"] = or_null(beside_log(out_.checkpoint));
  record["files"] = std::move(files);
  out_.recorded = !attempt("record", [&] {
                     append_record(subject_.options.log, record);
                     return subject_.options.log;
                   }).empty();
}

}  // namespace

std::function<void(int64_t, int64_t)> RunHow::progress_of(Step step) const {
  if (!progress) return {};
  progress(step, 0, 1);
  return [this, step](int64_t done, int64_t total) { progress(step, done, total); };
}

Policy Setting::parsed_policy() const {
  Policy out = Policy::parse(policy);
  if (!alpha) return out;
  if (out.kind != PolicyKind::percentile && out.kind != PolicyKind::quamba) {
    fail("--percentile-alpha", "the policy percentile or quamba, which keep a share", out.name());
  }
  out.alpha = *alpha;
  return out;
}

Subject::Subject(SubjectOptions options, RunHow how)
    : state_(std::make_unique<SubjectState>(std::move(options), std::move(how))) {}

Subject::~Subject() = default;

Overlap Subject::overlap() const {
  const SubjectOptions& options = state_->options;
  if (options.collect.data.empty() || options.score.empty()) return {};
  const CollectOptions& collect = options.collect;
  const Windows windows = calibration_windows(state_->description, collect.data, collect.windows,
                                              collect.input, Threads(state_->how.threads));
  return scored_overlap(windows, state_->work, options.score);
}

const ModelDescription& Subject::model() const { return state_->description; }

const std::string& Subject::name() const { return state_->description.name; }

std::string Subject::key(const Setting& setting) const { return key_of(*state_, setting); }

Experiment Subject::run(const Setting& setting) {
  Trial trial(*state_, setting);
  trial.check();
  trial.measure_and_decide();
  trial.quantize_and_score();
  trial.write_record();
  return trial.take();
}

}  // namespace scute
