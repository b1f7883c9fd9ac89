// Quantize: from a float model and a plan to the tensors of a low-bit checkpoint.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "scute/decide/plan.h"
#include "scute/language/hessians.h"
#include "scute/language/model_folder.h"
#include "scute/language/quantize_options.h"
#include "scute/models/language/layered_model.h"
#include "scute/observe/statistics_file.h"
#include "scute/quantize/gptq.h"
#include "scute/recipe/folder_writer.h"
#include "scute/recipe/probe.h"

namespace scute {

/// A low-bit model as it is stored: everything a folder will hold.
struct LowBitModel {
  ModelDescription description;      ///< with the scheme
  Json config;                       ///< config.json
  std::vector<NamedTensor> tensors;  ///< model.safetensors
  Plan plan;                         ///< of the sites used; empty without 8-bit activations
  std::optional<StatisticsSet> statistics;
  Json recipe;
  std::vector<std::string> remarks;        ///< what the user should know, one sentence each
  std::map<std::string, GptqReport> gptq;  ///< by matrix
};

/// Called with how many matrices are rounded, and all of them; from any thread. What it throws ends
/// the work.
using QuantizeProgress = std::function<void(int64_t done, int64_t total)>;

/// What keeps a quantization within a given memory; the same bytes whatever it says.
struct QuantizeMemory {
  /// Of matrices in work at once; or one matrix, or some of its outputs where they do not depend on
  /// each other.
  int64_t at_work = int64_t{4} << 30;
  /// Where finished tensors lie, and windows between layers, in files without names; "": in memory.
  std::string tensors_in = "", streams_in = "";
  /// Hessians are measured, used and dropped layer by layer; else they are given.
  bool hessians_by_layers = false;
};

/// What does not influence the result.
struct QuantizeRun {
  int threads = 0;
  const QuantizeProgress& progress;
  const QuantizeMemory& memory;
  /// Of a quantization whose Hessians come layer by layer: where what is finished is kept, and gone
  /// on with.
  const std::optional<WorkKeeping>& keeping;
};

/// `plan` may be empty when no layer has 8-bit activations. `statistics` (may be null) gives head
/// grouping and the states' channel scales what they need. `hessians` (may be null): for GPTQ.
/// Error naming site, tensor or option on everything that does not fit together: a plan of another
/// model, a site it lacks or the model lacks, bits it was not made for, a group size that does not
/// divide, statistics with NaN. The same bytes for any number of `threads` (0: all processors).
LowBitModel quantize(const ModelDescription& model, const Plan& plan,
                     const StatisticsSet* statistics, const Hessians* hessians,
                     const QuantizeOptions& options, int threads = 0,
                     const QuantizeProgress& progress = {}, const QuantizeMemory& memory = {},
                     const std::optional<WorkKeeping>& keeping = {});

/// Its tensors under our names.
Weights tensors_of(const LowBitModel& model);
/// The model that these tensors are.
LanguageModel build_model(const LowBitModel& model, const Execution& execution,
                          LanguageModel::Head head = LanguageModel::Head::packed);

/// Rows of a head that are packed at once where that is to take no more memory than a layer.
int64_t head_rows_at_once(int64_t width);

/// The logits of 64 seeded random tokens, F32 (64, V): "logits". Of a layered model with so many
/// rows of the head packed at once.
std::vector<NamedTensor> probe_language(const LanguageModel& model, uint64_t seed);
std::vector<NamedTensor> probe_language(LayeredModel& model, uint64_t seed, int64_t head_rows);
ProbeComparison compare_logits(const LanguageModel& a, const LanguageModel& b, uint64_t seed);

/// How a folder is checked: with both models in memory, or one layer of one at a time.
enum class FolderCheck { whole, by_layers };

/// Writes the folder (tokenizer.json copied from the original), loads it again, runs it, and
/// compares its logits with those of the model in memory, bit for bit; Error when they differ, and
/// then, and when anything else fails, what was there stays (FolderRules).
ProbeComparison write_low_bit(const LowBitModel& model, FolderWriter& folder,
                              FolderCheck check = FolderCheck::whole);
/// The same, claiming the name as late as this.
ProbeComparison write_low_bit(const LowBitModel& model, const std::string& path, bool replace);

}  // namespace scute
