// What the experiments of one model share, measured or read once: internal to this folder.
#pragma once

#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "scute/experiments/run.h"

namespace scute {

struct SubjectState {
  SubjectState(SubjectOptions options_given, RunHow how_given);

  /// Statistics from memory, from the store beside the log, or by a pass, then stored; whether a
  /// pass was saved.
  bool measure(std::vector<std::string>& warnings);
  Plan decide(const Setting& setting) const;
  LowBitModel quantized(const Setting& setting, const Plan& plan);
  Scores scores(const LanguageModel& model) const;
  std::function<void(int64_t, int64_t)> progress(Step step) const;

  SubjectOptions options;
  RunHow how;
  ModelDescription description;
  std::filesystem::path folder;  ///< of the log
  std::string model_sha256, tokenizer_sha256;
  std::vector<std::string> data_sha256;  ///< of options.collect.data
  ScoredFiles scored_sha256;
  std::string collection;  ///< collection_key()
  ScoreWork work;
  CalibrationOptions calibration;  ///< of GPTQ
  std::optional<StatisticsSet> statistics;
  std::string statistics_file, statistics_sha256;  ///< empty: not stored
  std::optional<Hessians> hessians;

 private:
  bool read_stored(const std::string& path, std::vector<std::string>& warnings);
  void store(std::vector<std::string>& warnings);
  const Hessians* grams(const Setting& setting);
};

}  // namespace scute
