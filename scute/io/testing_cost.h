// For tests: what a piece of work costs, in a process of its own.
#pragma once

#include <malloc.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdint>
#include <functional>
#include <optional>

namespace scute::fixtures {

struct Cost {
  double seconds = 0;  ///< of a processor
  int64_t bytes = 0;   ///< by which the peak of memory grew
};

/// Nothing when the process dies, throws, or `work` says that it failed. Large blocks come from the
/// system and go back, so that its peak is theirs. most_seconds: of a processor.
inline std::optional<Cost> cost_of(const std::function<bool()>& work, rlim_t most_seconds) {
  int ends[2] = {};
  if (::pipe(ends) != 0) return {};
  ::malloc_trim(0);  // what was freed here would be used again there, unseen
  const pid_t child = ::fork();
  if (child == 0) {
    const auto used = [] {
      rusage all{};
      ::getrusage(RUSAGE_SELF, &all);
      const auto seconds = [](const timeval& t) {
        return static_cast<double>(t.tv_sec) + 1e-6 * static_cast<double>(t.tv_usec);
      };
      return Cost{seconds(all.ru_utime) + seconds(all.ru_stime), int64_t{all.ru_maxrss} * 1024};
    };
    const rlimit most{most_seconds, most_seconds};
    ::setrlimit(RLIMIT_CPU, &most);
    const Cost before = used();
    bool done = false;
    try {
      done = work();
    } catch (...) {
    }
    const Cost after = used();
    const Cost cost{after.seconds - before.seconds, after.bytes - before.bytes};
    ::_exit(done && ::write(ends[1], &cost, sizeof(cost)) == sizeof(cost) ? 0 : 1);
  }
  ::close(ends[1]);
  Cost cost;
  const bool whole = ::read(ends[0], &cost, sizeof(cost)) == sizeof(cost);
  ::close(ends[0]);
  int status = 0;
  ::waitpid(child, &status, 0);
  return whole && status == 0 ? std::optional(cost) : std::nullopt;
}

}  // namespace scute::fixtures
