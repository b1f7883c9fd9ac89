// What is kept of a quantization that measures, uses and drops Hessians layer by layer.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "scute/language/hessians.h"
#include "scute/language/kept_files.h"
#include "scute/quantize/gptq.h"

namespace scute {

/// As recipes have it.
Json to_json(const GptqReport& report);

/// After some of the steps: layer-STEP.safetensors, what the next one needs, and
/// matrices-STEP.safetensors, the matrices that were finished since the file before. A step is kept
/// when it has ended; the streams of one that has not are of no use, because windows go through it
/// one after the other.
class GptqCheckpoint {
 public:
  struct Matrix {
    std::vector<NamedTensor> tensors;
    std::optional<GptqReport> report;
  };

  /// Errors of KeptFiles. `key`: everything that decides the sums and the matrices.
  GptqCheckpoint(WorkKeeping how, Json key);

  /// The matrices of all steps that were kept, by name; they stay mapped.
  const std::map<std::string, Matrix>& finished() const { return finished_; }
  /// The sums that matrices of later steps wait for.
  SiteGrams take_waiting() { return std::move(waiting_); }
  /// For LayeredHessians::each().
  LayeredHessians::Resumed take_resumed() { return std::move(resumed_); }

  /// Says that what can be interrupted begins.
  void begin() { files_.begin(); }
  /// A matrix is finished, before its step ends.
  void add(std::string name, Matrix matrix);
  /// A step has ended, with these sums waited for. Keeps it when it is time. Error when the work is
  /// cancelled.
  void end_step(const LayeredHessians::Step& step, const SiteGrams& waiting);

 private:
  void read_last_step();
  void read_matrices(const std::string& stem, const SafetensorsFile& file);
  /// Whether it is on disk.
  bool write(const LayeredHessians::Step& step, const SiteGrams& waiting);

  KeptFiles files_;
  std::map<std::string, Matrix> finished_, added_;  ///< kept, and not yet
  std::vector<int64_t> files_of_matrices_;          ///< their steps
  SiteGrams waiting_;
  LayeredHessians::Resumed resumed_;
  int64_t last_ = -1;    ///< step that was kept
  double kept_at_;       ///< steady_seconds()
  int64_t windows_ = 0;  ///< that passed a step since
};

}  // namespace scute
