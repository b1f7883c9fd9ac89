// Work that takes a while: on a thread of its own, while the caller's thread hears of it, runs
// Python's callback and notices Ctrl-C.
#pragma once

#include <nanobind/nanobind.h>

#include <atomic>
#include <cstdint>
#include <functional>
#include <mutex>
#include <string>

namespace scute::python {

/// What the work is told, and tells.
class BackgroundWork {
 public:
  /// From any thread; throws when the work is to stop, and must not be called without exceptions.
  void progress(const std::string& step, int64_t done, int64_t total);
  /// The same without throwing.
  void tell(const std::string& step, int64_t done, int64_t total);
  /// Set by in_background(): the work is to stop, and what it throws or gives is dropped.
  std::atomic<bool> stop{false};
  /// Called once when it is set, from the caller's thread; empty: nothing.
  void on_stop(std::function<void()> call);
  void stop_now();

  struct Report {
    std::string step;
    int64_t done = 0, total = 0;
  };
  /// Once for each; false when nothing is new.
  bool take(Report& report);

 private:
  std::mutex guard_;
  Report report_;
  std::function<void()> on_stop_;
  bool fresh_ = false;
};

/// Called and returning with the GIL; `piece` runs without. `callback` may be None; it is called on
/// this thread, at most twenty times a second and once at the end of each step that it heard of,
/// with (done, total, step). What it raises, and what a signal's handler raises, stops the work and
/// is raised here; what `piece` throws is thrown here.
void in_background(nanobind::handle callback, const std::function<void(BackgroundWork&)>& piece);

}  // namespace scute::python
