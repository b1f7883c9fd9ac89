// One quantization of a Cobra in progress: internal to this folder.
#pragma once

#include <atomic>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "scute/base/threads.h"
#include "scute/cobra/low_bit.h"
#include "scute/cobra/matrices.h"
#include "scute/cobra/quantize.h"
#include "scute/cobra/ranges.h"
#include "scute/io/scratch_file.h"
#include "scute/quantize/weight.h"

namespace scute {

class CobraQuantizeJob {
 public:
  CobraQuantizeJob(const CobraDescription& model, const Plan& plan, const StatisticsSet* statistics,
                   const CobraQuantizeOptions& options, int threads,
                   const QuantizeProgress& progress, const QuantizeMemory& memory);
  LowBitCobra run();

 private:
  /// A matrix on its way to its codes.
  struct Rounding {
    const CobraMatrix* matrix;
    Tensor weight = {};  ///< outputs × inputs
    WeightFormat format = {};
    std::optional<float> scale = {};  ///< of its 8-bit input
    QuantizedWeight codes = {};
  };

  void clip_buckets();
  /// Low-bit tensors of the matrices chosen, then all others as they are.
  void quantize_part(size_t part, Weights weights, std::vector<NamedTensor>& to);
  void prepare(const CobraMatrix& matrix, Weights& weights, std::vector<Rounding>& jobs);
  /// The format that is possible, and the scale of its 8-bit input where it has one.
  LayerFormat format_of(const CobraMatrix& matrix, std::optional<float>& scale);

  void quantize_language();
  /// The format of each of its layers; all in floats: empty.
  std::vector<LayerFormats> language_layers() const;
  /// Nothing: it stays in floats. Throws when that is not what was asked for.
  std::optional<Plan> language_plan(const LayerFormat& format);

  void remark_on_ranges();
  void remark_on_groups();
  void remark(std::string sentence) { out_.remarks.push_back(std::move(sentence)); }
  Json recipe() const;
  Json matrix_recipes() const;

  const CobraDescription& model_;
  const CobraQuantizeOptions& options_;
  Threads threads_;
  const QuantizeProgress& progress_;
  const QuantizeMemory& memory_;
  std::unique_ptr<ScratchFile> scratch_ = {};  ///< of the towers' tensors; null: in memory
  std::atomic<int64_t> done_ = 0;              ///< matrices
  ModelDescription language_;
  std::string hash_;
  MatrixFilter filter_;
  CobraRanges ranges_;
  std::vector<CobraMatrix> matrices_ = cobra_matrices(model_.config);
  CobraFormats formats_ = {};
  std::map<std::string, int64_t> groups_ = {};  ///< by matrix
  std::map<std::string, float> scales_ = {};    ///< of inputs, by matrix
  std::vector<std::string> without_range_ = {};
  LowBitCobra out_ = {};
};

}  // namespace scute
