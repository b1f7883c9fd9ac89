#include "cli/cobra/memory.h"

#include <algorithm>

#include "cli/terminal/machine.h"
#include "scute/base/threads.h"
#include "scute/language/memory_plan.h"
#include "scute/recipe/memory_limit.h"

namespace scute::cli {
namespace {

/// Scratch of a thread in the tower that takes most: a block's tensors and the towers' features.
int64_t tower_bytes(const CobraConfig& config) {
  int64_t most = 0, features = 0;
  for (const VisionConfig& tower : config.towers) {
    most = std::max(most, tower.tokens() * (8 * tower.width + 2 * tower.hidden));
    features += tower.patches() * tower.width;
  }
  return 4 * (most + 3 * features);
}

}  // namespace

void require_cobra(const Job& job, const CobraDescription& model, const CobraWork& work) {
  if (!job.memory) return;
  const CobraWeights weights = read_cobra_weights(model, CobraModel::Parts::all);
  const LanguageSizes language =
      sizes_of(model.language, weights.language, work.execution, LanguageModel::Head::packed);
  int64_t packed = language.packed() + language.table.stored, largest = language.largest_layer();
  std::vector<const Weights*> parts{&weights.projector};
  for (const Weights& tower : weights.towers) parts.push_back(&tower);
  for (const Weights* part : parts) {
    for (const std::string& name : part->names()) {
      const Tensor& tensor = part->at(name);
      packed += packed_bytes(tensor, name, work.execution);
      largest = std::max(largest, static_cast<int64_t>(tensor.bytes().size()));
    }
  }
  const int64_t tokens = model.config.projector_config().tokens() + work.tokens;
  constexpr int64_t kOfSite = 200'000;  // with the vectors that it keeps
  const int64_t statistics = (work.sites * kOfSite << work.fine) >> 8;
  const int64_t threads = Threads(job.threads).count();
  const int64_t of_thread =
      tower_bytes(model.config) + tokens * language.scratch_per_token + language.state + largest;
  require_memory(base_memory(peak_memory(), model.language, {}) + work.models * packed +
                     threads * of_thread + (2 * threads + 1) * statistics,
                 *job.memory, "Cobra, all of whose weights are in memory");
}

}  // namespace scute::cli
