// How far a long step is, on standard error.
#pragma once

#include <chrono>
#include <cstdint>
#include <mutex>
#include <string>

namespace scute::cli {

/// A bar with rate and time left on a terminal, redrawn at most ten times a second and only once
/// the step has taken two seconds; elsewhere a plain line every ten seconds; nothing when quiet.
class Progress {
 public:
  Progress(std::string title, std::string unit, bool quiet);
  ~Progress();  ///< wipes the bar
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  /// From any thread; numbers may come out of order.
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

/// One line on standard error, unless quiet.
void note(bool quiet, const std::string& line);

}  // namespace scute::cli
