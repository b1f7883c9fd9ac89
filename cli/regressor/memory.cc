#include "cli/regressor/memory.h"

#include <algorithm>

#include "cli/terminal/room.h"
#include "scute/base/threads.h"
#include "scute/language/memory_plan.h"
#include "scute/recipe/memory_limit.h"
#include "scute/regressor/collect.h"

namespace scute::cli {
namespace {

constexpr int64_t kOfSite = 200'000;  // bytes of its statistics

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

/// With all threads of the job.
int64_t needed_bytes(const Job& job, const RegressorCheckpoint& checkpoint,
                     const FeatureWork& work) {
  // A thread's scratch and histograms.
  constexpr int64_t kOfThread = 24'000'000;
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
  return kProgramMemory + features + 3 * weights + Threads(job.threads).count() * kOfThread +
         kept_statistics(work.kept_sites * kOfSite);
}

}  // namespace

void require_regressor(const Job& job, const RegressorCheckpoint& checkpoint,
                       const FeatureWork& work) {
  if (!job.memory) return;
  require_memory(needed_bytes(job, checkpoint, work), *job.memory,
                 "the model and its largest recording of features");
}

void plan_regressor_collection(const Job& job, const RegressorCheckpoint& checkpoint,
                               FeatureWork work, const std::string& file, bool kept) {
  const int64_t sites = std::ssize(list_regressor_sites(checkpoint.config).sites());
  work.kept_sites = kept ? sites : 0;
  warn_of_disk(file, sites * kOfSite, "the statistics");
  if (job.memory) return require_regressor(job, checkpoint, work);
  warn_of_memory(needed_bytes(job, checkpoint, work));
}

}  // namespace scute::cli
