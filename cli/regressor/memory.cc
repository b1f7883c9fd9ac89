#include "cli/regressor/memory.h"

#include "scute/base/threads.h"
#include "scute/recipe/memory_limit.h"

namespace scute::cli {

void require_regressor(const Job& job, const RegressorCheckpoint& checkpoint) {
  if (!job.memory) return;
  // A thread's scratch and histograms; features that are read, a file at a time.
  constexpr int64_t kOfThread = 24'000'000, kFeatures = 64'000'000;
  int64_t weights = 0;
  for (const std::string& name : checkpoint.weights.names()) {
    weights += 4 * checkpoint.weights.at(name).size();
  }
  const int64_t threads = Threads(job.threads).count();
  require_memory(kProgramMemory + kFeatures + 3 * weights + threads * kOfThread, *job.memory,
                 "the model and a file of features");
}

}  // namespace scute::cli
