// scute doctor: is everything there that a collection needs, and how long will it take? For every
// kind.
#pragma once

#include <cstdint>
#include <exception>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "cli/terminal/options.h"
#include "scute/data/overlap.h"
#include "scute/language/model_folder.h"
#include "scute/observe/statistic.h"
#include "scute/text/tokenizer.h"

namespace scute::cli {

enum class Level { ok, warning, failure };

/// What was found, in the order it was looked at.
class Findings {
 public:
  /// `advice`: what to do; may be empty.
  void note(Level level, std::string subject, std::string words, std::string advice = "");
  /// False, and a FAIL, when `look` throws.
  template <class F>
  bool try_to(const std::string& subject, const std::string& advice, const F& look) {
    try {
      look();
      return true;
    } catch (const std::exception& error) {
      note(Level::failure, subject, error.what(), advice);
      return false;
    }
  }
  /// Processor, kernels, memory, disk.
  void note_machine();
  /// Whether the tokenizer may belong to a model of `rows` rows; null: there is none.
  void note_tokenizer(const Tokenizer* tokenizer, int64_t rows);
  /// Which keys of a language model's config count for nothing, and what else is unusual about it.
  void note_description(const ModelDescription& model);
  void note_remarks(const std::vector<std::string>& remarks);
  /// Whether all that a sample showed was finite; `shown`: "512 tokens". Gives the bytes of its
  /// histograms.
  int64_t note_sample(const std::map<std::string, Statistic>& seen, const std::string& shown);
  /// Which sites a sample never reached, but for those that may be silent (missed_sites()).
  void note_silence(const std::vector<std::string>& silent);
  /// The finest percentile that will rest on values at every site, when a collection shows `times`
  /// as many as this sample.
  void note_percentiles(const std::map<std::string, Statistic>& seen, double times);
  /// Of `unit` ("token") that are scored, those in windows that calibration sees, named `where`.
  void note_overlap(const Overlap& overlap, const std::string& unit, const std::string& where);
  /// `peak` bytes beside those that are free.
  void note_peak(int64_t peak);
  /// `bytes` of statistics beside the room on the disk of the working folder.
  void note_disk(int64_t bytes);
  /// Writes them; kFailed when one is a FAIL.
  int show(bool json, Output& out) const;

 private:
  struct Finding {
    Level level;
    std::string subject, words, advice;
  };
  Json as_json(bool failed) const;
  std::string as_text() const;

  std::vector<Finding> findings_;
};

}  // namespace scute::cli
