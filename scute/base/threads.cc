#include "scute/base/threads.h"

#include <sched.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

#include "scute/base/error.h"

namespace scute {
namespace {

/// How long a thread without work looks for some before it sleeps: longer than the serial stretches
/// between the products of a token, and nothing beside a system call's 5 to 50 µs to be woken.
constexpr std::chrono::microseconds kAwake{200};

int usable_processors() {
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0) return std::max(1, CPU_COUNT(&set));
  return std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
}

void pause() noexcept {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

/// Parts that any thread may take, while it is open.
struct Region {
  int64_t count;
  void (*call)(const void* what, int64_t index, int worker) noexcept;
  const void* what;
  std::atomic<int64_t> next{0};
  std::atomic<int> inside{0};  ///< threads that help with it

  bool unfinished() const noexcept { return next.load(std::memory_order_relaxed) < count; }
  void work(int worker) noexcept {
    for (int64_t i = next.fetch_add(1); i < count; i = next.fetch_add(1)) call(what, i, worker);
  }
};

/// Where one thread offers a region to the others.
struct alignas(64) Offer {
  std::atomic<Region*> region{nullptr};
  std::atomic<int> entering{0};  ///< threads that may have read `region` and are not inside yet

  /// Nobody new comes in, and who is inside has been counted.
  void close() noexcept {
    region = nullptr;
    while (entering != 0) pause();
  }
};

}  // namespace

/// One offer for the indices of a for_each(), and one of every thread for the parts of a loop
/// inside it. A thread without work looks at all of them, at that of the for_each() first.
class Threads::Pool {
 public:
  explicit Pool(int count)
      : spins_(count <= usable_processors()),
        inner_(static_cast<size_t>(count)),
        idle_(count - 1) {}
  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;
  ~Pool() {
    stop_ = true;
    wake();
    for (std::thread& thread : threads_) thread.join();
  }

  /// Threads without work; those that are not started yet among them.
  int idle() const noexcept { return idle_.load(std::memory_order_relaxed); }

  /// The indices of a for_each().
  void run_outer(Region& region) {
    if (!offer(outer_, region)) return region.work(0);
    region.work(0);
    // Who is inside finishes its index, and is helped inside it meanwhile.
    outer_.close();
    const auto help = [&] { return help_inside(0); };
    while (region.inside != 0) help_or_wait(help, [&] { return region.inside == 0; });
  }
  void run_inner(Region& region, int worker) {
    Offer& mine = inner_[static_cast<size_t>(worker)];
    if (!offer(mine, region)) return region.work(worker);
    region.work(worker);
    mine.close();
    for (int i = 0; region.inside != 0; ++i) i < 4096 ? pause() : std::this_thread::yield();
  }

 private:
  void start() {
    std::call_once(started_, [&] {
      while (threads_.size() + 1 < inner_.size()) {
        threads_.emplace_back([this, worker = static_cast<int>(threads_.size()) + 1] {
          const auto help = [&] { return help_at(outer_, worker) || help_inside(worker); };
          while (!stop_) look_around(help, [&] { return stop_.load(); });
        });
      }
    });
  }

  /// False when another region, of a second thread that counts as this worker, stands there.
  bool offer(Offer& at, Region& region) {
    start();
    Region* none = nullptr;
    if (!at.region.compare_exchange_strong(none, &region)) return false;
    wake();
    return true;
  }

  /// Takes part in one loop inside somebody's work, if there is any.
  bool help_inside(int worker) noexcept {
    return std::ranges::any_of(inner_, [&](Offer& at) { return help_at(at, worker); });
  }
  bool help_at(Offer& at, int worker) noexcept {
    if (at.region.load(std::memory_order_relaxed) == nullptr) return false;
    ++at.entering;  // from here on what `region` holds stays alive
    Region* region = at.region;
    const bool found = region != nullptr && region->unfinished();
    if (found) ++region->inside;
    --at.entering;
    if (!found) return false;
    --idle_;
    region->work(worker);
    ++idle_;
    // The last one out may be waited for; then the region is gone.
    if (--region->inside == 0 && at.region != region) wake();
    return true;
  }

  /// Until something was helped or done() holds; may return sooner.
  template <class Help, class Done>
  void help_or_wait(const Help& help, const Done& done) noexcept {
    ++idle_;
    look_around(help, done);
    --idle_;
  }
  template <class Help, class Done>
  void look_around(const Help& help, const Done& done) noexcept {
    const auto until = std::chrono::steady_clock::now() + kAwake;
    for (;;) {
      const uint32_t seen = changes_;
      if (help() || done()) return;
      for (int i = 0; spins_ && i < 64 && changes_ == seen; ++i) pause();
      if (changes_ != seen) continue;
      if (spins_ && std::chrono::steady_clock::now() < until) continue;
      ++sleepers_;
      changes_.wait(seen);
      --sleepers_;
      return;
    }
  }

  void wake() noexcept {
    ++changes_;
    if (sleepers_ > 0) changes_.notify_all();
  }

  const bool spins_;  ///< not where threads would take processors from each other
  Offer outer_;
  std::vector<Offer> inner_;
  std::vector<std::thread> threads_;
  std::once_flag started_;
  std::atomic<bool> stop_{false};
  alignas(64) std::atomic<uint32_t> changes_{0};
  std::atomic<int> sleepers_{0}, idle_;
};

Team::Team(const Threads& threads, int worker)
    : threads_(threads.count() > 1 ? &threads : nullptr), worker_(worker) {}

int Team::size() const { return threads_ == nullptr ? 1 : 1 + threads_->pool_->idle(); }

void Team::share_parts(int64_t n, Call call, const void* what) const {
  Region region{n, call, what};
  threads_->pool_->run_inner(region, worker_);
}

Threads::Threads(int count) : count_(count == 0 ? usable_processors() : count) {
  if (count_ < 1 || count_ > 4096) fail("threads", "1 to 4096", std::to_string(count));
  pool_ = std::make_shared<Pool>(count_);
}

void Threads::for_each(int64_t n,
                       const std::function<void(int64_t index, int worker)>& work) const {
  std::atomic<bool> stop{false};
  std::mutex guard;
  std::exception_ptr failure;
  int64_t failed_index = n;

  const auto run = [&](int64_t index, int worker) noexcept {
    if (stop.load(std::memory_order_relaxed)) return;
    try {
      work(index, worker);
    } catch (...) {
      const std::lock_guard lock(guard);
      stop = true;
      if (index < failed_index) {
        failed_index = index;
        failure = std::current_exception();
      }
    }
  };
  if (n > 1 && count_ > 1) {
    using Run = decltype(run);
    const auto call = [](const void* what, int64_t index, int worker) noexcept {
      (*static_cast<const Run*>(what))(index, worker);
    };
    Region region{n, call, &run};
    pool_->run_outer(region);
  } else {
    for (int64_t i = 0; i < n; ++i) run(i, 0);
  }
  if (failure) std::rethrow_exception(failure);
}

}  // namespace scute
