// quantize --checkpoint-every: the sums of Hessians, and layer by layer what is finished, kept
// beside the output.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "cli/collect_part.h"
#include "cli/terminal/interrupt.h"
#include "cli/terminal/job.h"
#include "cli/terminal/progress.h"
#include "scute/language/hessians.h"

namespace scute::cli {

class KeptWork {
 public:
  /// Beside the output that is claimed. `force`: what lies there of another measurement is dropped
  /// when this one begins. The claim must live as long as this.
  KeptWork(const CheckpointEvery& every, const Claim& claim, bool force);

  /// What a bar counts: its name, and one and several of the things counted.
  struct Bar {
    const char *name, *one, *several;
  };
  static constexpr Bar kWindows{"hessians", "window", "windows"};
  static constexpr Bar kMatrices{"quantize", "matrix", "matrices"};

  /// work(HessianRun), a bar, and Ctrl-C where work is kept: nothing then, and a word about it.
  /// What lies there is gone on with; Error when it is of other work.
  template <class Work>
  auto go_on(const Job& job, const Bar& bar, const Work& work)
      -> std::optional<decltype(work(HessianRun{}))> {
    std::optional<Interrupt> interrupt;  // until windows pass nothing is lost by ending at once
    const auto begin = [&] { return &interrupt.emplace().flag(); };
    Progress progress(bar.name, bar.several, job.quiet);
    const HessianRun run{.threads = job.threads,
                         .progress =
                             [&](int64_t done, int64_t total) {
                               tell(done, total);
                               progress.update(done, total);
                             },
                         .keeping = keeping(begin)};
    try {
      auto out = work(run);
      if (!interrupt || interrupt->exit_code() == 0) return out;
    } catch (const Error&) {
      if (!interrupt || interrupt->exit_code() == 0) throw;
    }
    end(interrupt->exit_code(), bar);
    return std::nullopt;
  }
  /// After an interruption.
  int exit_code() const { return exit_code_; }

  /// For work of which nothing is kept: Error when something lies there, which it would drop.
  void require_none() const;

 private:
  /// `begin`: where work is kept, as WorkKeeping says.
  std::optional<WorkKeeping> keeping(std::function<const std::atomic<bool>*()> begin);
  void tell(int64_t done, int64_t total);
  void end(int exit_code, const Bar& bar);

  CheckpointEvery every_;
  const Claim& claim_;
  bool force_;
  std::atomic<bool> lost_{false};            ///< something could not be kept, or read
  std::atomic<int64_t> done_{0}, total_{0};  ///< of what the bar counts
  int exit_code_ = 0;
};

}  // namespace scute::cli
