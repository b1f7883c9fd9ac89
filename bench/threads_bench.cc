// What it costs to share a loop with threads that wait for one: the parts do nothing.
#include <benchmark/benchmark.h>

#include <atomic>
#include <chrono>
#include <thread>

#include "scute/base/threads.h"

namespace scute {
namespace {

/// One loop right behind the other, as in a token.
void share(benchmark::State& state) {
  const Threads threads(static_cast<int>(state.range(0)));
  const Team team = threads.team();
  std::atomic<int64_t> seen{0};
  for (auto _ : state) {
    team.share(state.range(0), [&](int64_t) noexcept { seen.fetch_add(1); });
  }
  benchmark::DoNotOptimize(seen.load());
}
BENCHMARK(share)->Arg(1)->Arg(2)->UseRealTime();

/// Until the helper has begun its part, after so many microseconds without work: it is awake, or
/// (1,000) asleep.
void helper_begins(benchmark::State& state) {
  const Threads threads(2);
  const Team team = threads.team();
  const std::chrono::microseconds idle(state.range(0));
  for (auto _ : state) {
    const auto until = std::chrono::steady_clock::now() + idle;
    if (idle.count() >= 1000) std::this_thread::sleep_for(idle);
    while (std::chrono::steady_clock::now() < until) {
    }
    std::atomic<int> inside{0};
    const auto start = std::chrono::steady_clock::now();
    team.share(2, [&](int64_t) noexcept {
      ++inside;
      while (inside < 2) {
      }
    });
    state.SetIterationTime(
        std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  }
}
BENCHMARK(helper_begins)->Arg(0)->Arg(20)->Arg(100)->Arg(1000)->UseManualTime();

}  // namespace
}  // namespace scute
