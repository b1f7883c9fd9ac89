// Whoever runs a verb inside a process of their own, Python say: hears of its progress and words
// instead of the terminal, and may stop it.
#pragma once

#include <atomic>
#include <cstdint>
#include <exception>
#include <functional>
#include <string>

namespace scute::cli {

/// Thrown out of a verb that was told to stop; what it was writing is taken away as by an error.
class Stopped : public std::exception {
 public:
  const char* what() const noexcept override { return "stopped"; }
};

/// The functions are called from any thread, several at a time, and must not throw.
struct Listener {
  std::function<void(const std::string& title, const std::string& unit, int64_t done,
                     int64_t total)>
      progress;
  std::function<void(const std::string&line)> note, warning;
  /// Set: the verb ends at the next word of progress, collections inside a sample.
  std::atomic<bool> stop{false};
};

/// While it lives the process has this listener: nothing is drawn, Ctrl-C is the process's own. One
/// at a time; it must outlive every word.
class Listening {
 public:
  explicit Listening(Listener& listener);
  ~Listening();
  Listening(const Listening&) = delete;
  Listening& operator=(const Listening&) = delete;
};

/// Null: the terminal.
Listener* listener();

}  // namespace scute::cli
