#include "scute/base/threads.h"

#include <sched.h>

#include <algorithm>
#include <atomic>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

#include "scute/base/error.h"

namespace scute {
namespace {

int usable_processors() {
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0) return std::max(1, CPU_COUNT(&set));
  return std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
}

}  // namespace

Threads::Threads(int count) : count_(count == 0 ? usable_processors() : count) {
  if (count_ < 1 || count_ > 4096) fail("threads", "1 to 4096", std::to_string(count));
}

void Threads::for_each(int64_t n,
                       const std::function<void(int64_t index, int worker)>& work) const {
  std::atomic<int64_t> next{0};
  std::atomic<bool> stop{false};
  std::mutex guard;
  std::exception_ptr failure;
  int64_t failed_index = n;

  const auto run = [&](int worker) {
    while (!stop.load(std::memory_order_relaxed)) {
      const int64_t index = next.fetch_add(1, std::memory_order_relaxed);
      if (index >= n) return;
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
    }
  };

  const int workers = static_cast<int>(std::min<int64_t>(count_, n));
  {
    std::vector<std::jthread> others;
    for (int worker = 1; worker < workers; ++worker) others.emplace_back(run, worker);
    if (n > 0) run(0);
  }
  if (failure) std::rethrow_exception(failure);
}

}  // namespace scute
