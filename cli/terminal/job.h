// What every verb that works for a while is told, and how it answers.
#pragma once

#include <chrono>
#include <string>

#include "cli/terminal/options.h"
#include "cli/terminal/output.h"

namespace scute::cli {

struct Job {
  int threads = 0;  ///< 0: all processors
  bool quiet = false, json = false;

  /// --threads, --device, --quiet and --json.
  void declare(Options& options);
  /// The work begins now, not when flags and small files were read.
  void begin() { start_ = Clock::now(); }
  /// Since begin().
  double seconds() const;
  /// One JSON object or words, as --json says; the other is not made.
  template <class AsJson, class AsText>
  void answer(Output& out, const AsJson& as_json, const AsText& as_text) const {
    if (json) {
      out.write_json(as_json());
    } else {
      out.write(as_text());
    }
  }

 private:
  using Clock = std::chrono::steady_clock;
  Clock::time_point start_ = Clock::now();
};

}  // namespace scute::cli
