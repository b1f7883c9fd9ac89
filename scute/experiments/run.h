// One experiment: collect, decide, quantize, score, record. What was measured once is used again.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "scute/experiments/run_record.h"
#include "scute/language/collect.h"
#include "scute/language/hessians.h"
#include "scute/language/memory_plan.h"
#include "scute/language/quantize.h"
#include "scute/language/quantize_plan.h"
#include "scute/language/scored_overlap.h"
#include "scute/language/scoring.h"

namespace scute {

/// What the experiments of one model share.
struct SubjectOptions {
  std::string model;
  CollectOptions collect;     ///< without data: no statistics, so floats or W4A16 without GPTQ only
  int64_t gptq_samples = 64;  ///< windows of the same data for GPTQ's Hessians, at most
  ScoreOptions score;
  std::string log = "logs/percentile_experiments.jsonl";  ///< statistics and items lie beside it
};

/// What one experiment is about.
struct Setting {
  /// As Policy::parse reads it; of a Cobra also kDefaultPolicy, each site by its default.
  std::string policy = "auto";
  std::optional<double> alpha;  ///< share kept by percentile and quamba, when one was given
  QuantizeOptions quantize;     ///< format FP: the float model itself, the reference
  Execution execution;
  LoggedSites logged;
  // Of language models alone.
  std::optional<int64_t> save_activations;  ///< first values of the first sample, per logged site
  std::string checkpoint;                   ///< folder to keep the low-bit model in; empty: none
  bool replace = false;                     ///< such a folder of scute's that exists

  std::string command;  ///< recorded

  Policy parsed_policy() const;  ///< with alpha; Error when it has no use for one
};

enum class Step { collect, hessians, perplexity, last_word, pictures };

/// How an experiment keeps within a given memory, each step as its own verb does.
struct ExperimentPlan {
  MemoryPlan collect;
  QuantizePlan quantize;
  int scoring_threads = 1;
  /// Of a Cobra: it and the float one are compared so.
  std::optional<ByLayers> compared_by_layers = {};
};

/// What does not influence the result.
struct RunHow {
  int threads = 0;
  /// Empty: everything in memory, on `threads`.
  std::function<ExperimentPlan(const Setting& setting)> plan = {};
  /// With done = 0 when a step begins, then from any thread; what it throws ends the experiment.
  std::function<void(Step step, int64_t done, int64_t total)> progress = {};
  /// Of one step, which begins now; empty without progress. This must live as long.
  std::function<void(int64_t done, int64_t total)> progress_of(Step step) const;
  /// The time now as strftime writes it: "%Y-%m-%d %H:%M:%S".
  std::function<std::string(const char* format)> local_time;
  Json machine;  ///< recorded: processor, instruction set
};

struct Experiment {
  Json record;
  bool recorded = false;              ///< the log holds it
  bool reused = false;                ///< stored statistics were used
  std::string not_finite;             ///< of scores that are not: where it arises; empty: they are
  std::string checkpoint;             ///< the folder written; empty: none
  std::vector<std::string> remarks;   ///< of the quantization
  ThinTails thin = {};                ///< percentiles of ranges that rest on no value
  std::vector<std::string> warnings;  ///< what could not be written, and why
};

/// A model of any kind with what its experiments share; run_cobra.h has Cobra's.
class ExperimentSubject {
 public:
  virtual ~ExperimentSubject() = default;

  virtual const std::string& name() const = 0;  ///< of the model
  /// SHA-256 of everything that decides the result of this experiment (hashes.experiment).
  virtual std::string key(const Setting& setting) const = 0;
  /// Runs and records it. Error when a step fails; what cannot be written for the record (log,
  /// statistics, items, activations) is a warning, and the record is still returned.
  virtual Experiment run(const Setting& setting) = 0;
};

struct SubjectState;

/// A language model with what its experiments share: hashes, statistics, Hessians, texts. Each is
/// measured or read when first needed, once.
class Subject : public ExperimentSubject {
 public:
  /// Error on a model or texts that cannot be read.
  Subject(SubjectOptions options, RunHow how);
  ~Subject() override;

  const ModelDescription& model() const;
  /// How much of what is scored is in the calibration windows too; nothing of either: no units.
  /// Cuts the windows, as each measurement does.
  Overlap overlap() const;
  const std::string& name() const override;
  std::string key(const Setting& setting) const override;
  Experiment run(const Setting& setting) override;

 private:
  std::unique_ptr<SubjectState> state_;
};

}  // namespace scute
