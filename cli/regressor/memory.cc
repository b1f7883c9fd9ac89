#include "cli/regressor/memory.h"

#include <algorithm>

#include "scute/base/threads.h"
#include "scute/language/memory_plan.h"
#include "scute/recipe/memory_limit.h"

namespace scute::cli {
namespace {

/// One recording at a time is in memory normalized in f32, and as stored where that is mapped; of
/// all of them where each frame was, and when, and small files as stored (io/input.h).
int64_t bytes_of(const FeatureFolder& folder) {
  constexpr int64_t kReadAtOnce = int64_t{64} << 20;
  const auto stored = [](const Tensor& tensor) { return std::ssize(tensor.bytes()); };
  int64_t largest = 0, beside = 0;
  for (const FeatureSequence& sequence : folder.sequences) {
    const bool mapped = stored(sequence.frames) > kReadAtOnce;
    largest =
        std::max(largest, 4 * sequence.frames.size() + (mapped ? stored(sequence.frames) : 0));
    beside += (mapped ? 0 : stored(sequence.frames)) + stored(sequence.positions) +
              stored(sequence.times) + 8 * std::ssize(sequence.ends);
  }
  return largest + beside;
}

}  // namespace

void require_regressor(const Job& job, const RegressorCheckpoint& checkpoint,
                       const FeatureWork& work) {
  if (!job.memory) return;
  // A thread's scratch and histograms.
  constexpr int64_t kOfThread = 24'000'000, kOfSite = 200'000;
  int64_t weights = 0, features = 0;
  for (const std::string& name : checkpoint.weights.names()) {
    weights += 4 * checkpoint.weights.at(name).size();
  }
  for (const FeatureRole role : work.roles) {
    features = std::max(
        features, bytes_of(read_feature_folder(work.root, {.role = role,
                                                           .features = checkpoint.config.features,
                                                           .window = checkpoint.config.window,
                                                           .normalize = work.normalize})));
  }
  const int64_t threads = Threads(job.threads).count();
  require_memory(kProgramMemory + features + 3 * weights + threads * kOfThread +
                     kept_statistics(work.kept_sites * kOfSite),
                 *job.memory, "the model and its largest recording of features");
}

}  // namespace scute::cli
