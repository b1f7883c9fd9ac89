#include "extension/work.h"

#include <nanobind/stl/string.h>

#include <chrono>
#include <condition_variable>
#include <exception>
#include <thread>

namespace scute::python {
namespace {

namespace nb = nanobind;

/// How long a signal or a word of progress waits at most.
constexpr auto kPatience = std::chrono::milliseconds(50);

class StoppedWork : public std::exception {
 public:
  const char* what() const noexcept override { return "stopped"; }
};

/// A piece of work on its thread; joined before anything it uses ends.
class Worker {
 public:
  Worker(BackgroundWork& work, const std::function<void(BackgroundWork&)>& piece)
      : thread_([this, &work, &piece] {
          try {
            piece(work);
          } catch (...) {
            thrown_ = std::current_exception();
          }
          const std::lock_guard lock(guard_);
          done_ = true;
          ended_.notify_one();
        }) {}
  ~Worker() { thread_.join(); }
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  /// Whether it has ended, after at most kPatience.
  bool wait() {
    std::unique_lock lock(guard_);
    return ended_.wait_for(lock, kPatience, [this] { return done_; });
  }
  const std::exception_ptr& thrown() const { return thrown_; }

 private:
  std::mutex guard_;
  std::condition_variable ended_;
  bool done_ = false;
  std::exception_ptr thrown_;
  std::thread thread_;  // the last: it begins when all others are there
};

/// With the GIL. Throws what Python raises.
void listen(nb::handle callback, BackgroundWork& work) {
  if (PyErr_CheckSignals() != 0) throw nb::python_error();
  BackgroundWork::Report report;
  if (!callback.is_none() && work.take(report)) callback(report.done, report.total, report.step);
}

}  // namespace

void BackgroundWork::progress(const std::string& step, int64_t done, int64_t total) {
  tell(step, done, total);
  if (stop) throw StoppedWork();
}

void BackgroundWork::tell(const std::string& step, int64_t done, int64_t total) {
  const std::lock_guard lock(guard_);
  // Numbers of one step may come out of order.
  if (step == report_.step && done < report_.done) return;
  report_ = {step, done, total};
  fresh_ = true;
}

void BackgroundWork::on_stop(std::function<void()> call) {
  const std::lock_guard lock(guard_);
  on_stop_ = std::move(call);
  if (stop && on_stop_) on_stop_();
}

void BackgroundWork::stop_now() {
  const std::lock_guard lock(guard_);
  stop = true;
  if (on_stop_) on_stop_();
}

bool BackgroundWork::take(Report& report) {
  const std::lock_guard lock(guard_);
  if (!fresh_) return false;
  fresh_ = false;
  report = report_;
  return true;
}

void in_background(nb::handle callback, const std::function<void(BackgroundWork&)>& piece) {
  BackgroundWork work;
  std::exception_ptr raised, thrown;
  {
    const nb::gil_scoped_release released;
    Worker worker(work, piece);
    bool ended = false;
    while (!ended) {
      ended = worker.wait();
      const nb::gil_scoped_acquire acquired;
      if (raised) continue;
      try {
        listen(callback, work);
      } catch (...) {
        raised = std::current_exception();
        work.stop_now();
      }
    }
    thrown = worker.thrown();
  }
  if (raised) std::rethrow_exception(raised);
  if (thrown) std::rethrow_exception(thrown);
}

}  // namespace scute::python
