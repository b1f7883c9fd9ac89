// What the experiments of one model share, measured or read once: internal to this folder.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "scute/experiments/kept_statistics.h"
#include "scute/experiments/run.h"
#include "scute/io/input.h"

namespace scute {

struct SubjectState {
  SubjectState(SubjectOptions options_given, RunHow how_given);

  /// How this experiment is to go on.
  ExperimentPlan plan(const Setting& setting) const;
  /// Statistics from memory, from the store beside the log, or by a pass, then stored; whether a
  /// pass was saved.
  bool measure(const MemoryPlan& how_collect, std::vector<std::string>& warnings);
  Plan decide(const Setting& setting) const;
  LowBitModel quantized(const Setting& setting, const Plan& plan, const QuantizePlan& how_quantize);
  Scores scores(const LanguageModel& model, int threads) const;
  std::function<void(int64_t, int64_t)> progress(Step step) const;

  SubjectOptions options;
  RunHow how;
  InputStamps stamps;  ///< of all that is read
  ModelDescription description;
  std::string model_sha256, tokenizer_sha256;
  std::vector<std::string> data_sha256;  ///< of options.collect.data
  ScoredFiles scored_sha256;
  ScoreWork work;
  CalibrationOptions calibration;  ///< of GPTQ
  KeptStatistics kept;             ///< under the hash of collection_key()
  std::optional<Hessians> hessians;

 private:
  /// Null where none are used, or are measured as they are used.
  const Hessians* grams(const Setting& setting, const QuantizePlan& how_quantize);
};

}  // namespace scute
