// What collections of every kind do and say around their pass.
#pragma once

#include <atomic>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cli/terminal/interrupt.h"
#include "cli/terminal/job.h"
#include "cli/terminal/progress.h"
#include "cli/verbs.h"
#include "scute/base/error.h"
#include "scute/observe/statistics_file.h"
#include "scute/recipe/measure.h"

namespace scute::cli {

/// The pass of one collection: a bar, Ctrl-C, the time it took.
class Collecting {
 public:
  /// The work begins now. `unit`: what the bar counts, "samples".
  Collecting(Job& job, std::string unit) : job_(job), unit_(std::move(unit)) { job_.begin(); }

  /// pass(control); nothing, and a word about it, when it was interrupted before anything was
  /// finished.
  template <class Pass>
  auto measure(const Pass& pass) -> std::optional<decltype(pass(PassControl{}))> {
    try {
      Progress progress("collect", unit_, job_.quiet);
      return finished(pass(PassControl{.threads = job_.threads,
                                       .progress =
                                           [this, &progress](int64_t done, int64_t total) {
                                             planned_ = total;
                                             progress.update(done, total);
                                           },
                                       .cancelled = &interrupt_.flag()}));
    } catch (const Error& error) {
      if (exit_code() == 0) throw;
      say_nothing_written(error);
      return std::nullopt;
    }
  }

  double seconds() const { return seconds_; }
  /// Units of the whole pass.
  int64_t planned() const { return planned_; }
  /// 0 without an interruption.
  int exit_code() const { return interrupt_.exit_code(); }

 private:
  template <class Result>
  Result finished(Result result) {
    seconds_ = job_.seconds();
    return result;
  }
  static void say_nothing_written(const Error& error);

  Job& job_;
  std::string unit_;
  Interrupt interrupt_;
  std::atomic<int64_t> planned_{0};
  double seconds_ = 0;
};

/// What is doubtful about a tokenizer of so many ids beside a model of so many rows; "" when it may
/// be the model's.
std::string tokenizer_doubt(int64_t ids, int64_t rows);

/// Of the sites that saw nothing, those whose silence is an error. States along the way are shown
/// by sequences that are long enough only, so for them it is one when --sites asks for them in
/// words.
std::vector<std::string> missed_sites(const std::vector<std::string>& silent,
                                      const std::string& sites_flag);
/// Error when there are any. `hint`: what to do, may be empty.
void refuse_silence(const std::string& file, const std::vector<std::string>& missed,
                    std::string_view hint = "");

/// Sites with NaN or infinite values, with their numbers.
std::vector<std::string> nonfinite_sites(const StatisticsSet& set);
/// A line of warning for each.
std::string nonfinite_text(const StatisticsSet& set);

/// What to type to do the rest: the same command line with flags behind it that count instead, and
/// the merging of both files.
std::string to_continue(const Call& call, const std::string& file, const Arguments& changed);

}  // namespace scute::cli
