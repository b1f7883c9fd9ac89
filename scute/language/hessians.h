// Hessians of a model's matrices: measured once, kept beside the statistics.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "scute/language/hessian_checkpoint.h"
#include "scute/language/model_folder.h"
#include "scute/language/quantize_options.h"
#include "scute/observe/gram.h"

namespace scute {

/// Σ x·xᵀ at the inputs of every matrix that may be rounded, of an expert's down_proj over the
/// tokens that reached it, of the plain float model: rotation, folding, bits and groups are decided
/// afterwards.
struct Hessians {
  std::map<std::string, Gram> sites;  ///< by site, e.g. layer_0.in_proj:input
  Json meta;                          ///< model, data, windows, tokens
};

/// What does not influence the sums.
struct HessianRun {
  int threads = 0;
  std::function<void(int64_t done, int64_t total)> progress = {};
  /// Where unfinished sums are kept, and gone on with.
  std::optional<WorkKeeping> keeping = {};
};

/// Bytes of one sum at each of the sites that are measured: of all, and of those of a layer that
/// are held at once (what layers share waits for all of them).
struct HessianSizes {
  int64_t all = 0, largest_layer = 0;
};
HessianSizes hessian_sizes(const SiteList& sites);

/// Sums that windows are dealt to in turn: fixed, so that the result does not depend on the number
/// of threads or processes, and as many can work.
constexpr int64_t kHessianSums = 4;

/// The same bytes for any number of threads: windows are dealt to kHessianSums sums in turn, and
/// these are added in order; also when it was ended, by whatever, and goes on from what was kept.
Hessians measure_hessians(const ModelDescription& model, const CalibrationOptions& options,
                          const HessianRun& run);

/// The same sums, byte for byte, of one layer after the other, while one layer's weights and sums
/// are in memory. Between layers the windows' streams lie in memory, or in a file without a name in
/// `folder`.
class LayeredHessians {
 public:
  LayeredHessians(const ModelDescription& model, const CalibrationOptions& options, int threads,
                  const std::string& folder);
  ~LayeredHessians();
  LayeredHessians(const LayeredHessians&) = delete;
  LayeredHessians& operator=(const LayeredHessians&) = delete;

  /// As Hessians::meta.
  Json meta() const;
  /// One step: entering, a block, or leaving. No weights are packed while it is looked at.
  struct Step {
    int64_t number;
    int64_t windows;
    SiteGrams sums;                    ///< of its sites; may have none
    std::vector<NamedTensor> carried;  ///< what goes on from here (LayerPass::carried)
  };
  /// Where an earlier run stopped.
  struct Resumed {
    int64_t step = -1;
    std::vector<NamedTensor> carried = {};
    std::string where = {};  ///< for errors
  };
  /// Calls take() for each step in order, from the one behind `from` on.
  void each(const std::function<void(Step)>& take, const Resumed& from);

 private:
  struct Work;
  std::unique_ptr<Work> work_;
};

/// The meta that a measurement of this would have.
Json hessian_meta(const ModelDescription& model, const CalibrationOptions& options, int threads);

/// Everything that decides the sums, to the last bit: hashes of what was read, how it was cut, the
/// instruction set and the version; no names of files.
Json hessian_key(const Json& meta);

/// These of the sums alone, each by itself, of all sites at once: numbered as windows are dealt to
/// them. Also gives the meta of the whole.
std::map<int64_t, SiteGrams> measure_sums(const ModelDescription& model,
                                          const CalibrationOptions& options, const HessianRun& run,
                                          const std::vector<int64_t>& sums, Json& meta);

/// .safetensors: NAME/hessian F64 (n, n), metadata "meta". Atomic.
void write_hessians(const std::string& path, const Hessians& hessians);
/// Error when the file is none, or is of another model (by hash).
Hessians read_hessians(const std::string& path, const ModelDescription& model);

}  // namespace scute
