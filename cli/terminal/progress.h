// How far a long step is, on standard error.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>

#include "scute/data/text_input.h"

namespace scute::cli {

/// A bar with rate and time left on a terminal, redrawn at most ten times a second and only once
/// the step has taken two seconds; elsewhere a plain line every ten seconds; nothing when quiet.
class Progress {
 public:
  Progress(std::string title, std::string unit, bool quiet);
  ~Progress();  ///< wipes the bar
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  /// From any thread; numbers may come out of order. Throws Stopped when a Listener says so.
  void update(int64_t done, int64_t total);

 private:
  using Clock = std::chrono::steady_clock;
  std::string line(int64_t done, int64_t total, double seconds) const;

  std::string title_, unit_;
  bool quiet_, terminal_;
  std::mutex guard_;
  Clock::time_point start_, last_;
  int64_t most_ = 0;
  bool drawn_ = false;
};

/// The bars of several steps, one after the other.
class StepProgress {
 public:
  explicit StepProgress(bool quiet) : quiet_(quiet) {}

  /// From any thread. Another title than the last one wipes the bar and begins a new one: a step
  /// that calls with done = 0 first has its rate right.
  void update(const std::string& title, const std::string& unit, int64_t done, int64_t total);
  /// Wipes the bar: what follows is written to the terminal.
  void finish();

 private:
  bool quiet_;
  std::mutex guard_;
  std::string title_;
  std::unique_ptr<Progress> bar_;
};

/// One line on standard error, unless quiet.
void note(bool quiet, const std::string& line);
/// "scute: warning: …", also when quiet.
void warn(const std::string& words);
/// Lines that were left out: how many, and the first of them.
void warn_of(const BadLines& bad);

}  // namespace scute::cli
