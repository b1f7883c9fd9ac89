// What every verb that works for a while is told, and how it answers.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>

#include "cli/terminal/options.h"
#include "cli/terminal/output.h"

namespace scute::cli {

struct Job {
  int threads = 0;  ///< 0: all processors
  bool quiet = false, json = false;
  std::optional<int64_t> memory;  ///< bytes to keep within

  /// --threads, --device, --quiet and --json.
  void declare(Options& options);
  /// --memory, of work that keeps within it or is refused.
  void declare_memory(Options& options);
  /// The work begins now, not when flags and small files were read.
  void begin() { start_ = Clock::now(); }
  /// Since begin().
  double seconds() const;
  /// One JSON object or words, as --json says; the other is not made.
  template <class AsJson, class AsText>
  void answer(Output& out, const AsJson& as_json, const AsText& as_text) const {
    if (json) {
      out.write_json(with_peak(as_json()));
    } else {
      out.write(as_text() + peak_line());
    }
  }
  /// Where --memory was given: the answer with "peak_memory_bytes", what the process held at most;
  /// the same as a last line of words. Else the answer as it is, and nothing.
  Json with_peak(Json answer) const;
  std::string peak_line() const;

 private:
  using Clock = std::chrono::steady_clock;
  Clock::time_point start_ = Clock::now();
};

}  // namespace scute::cli
