// Quantize for Cobra: from a float model and the ranges of its buckets and sites to low-bit parts.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "scute/cobra/folder.h"
#include "scute/decide/plan.h"
#include "scute/language/quantize.h"
#include "scute/observe/statistics_file.h"

namespace scute {

/// Every option that influences the low-bit folder; all are recorded in it.
struct CobraQuantizeOptions {
  LayerFormat format;                          ///< of every bucket without one of its own
  std::map<std::string, LayerFormat> buckets;  ///< "vision.dino", "vision.siglip", "projector",
                                               ///< "llm"
  /// Globs over matrices: "vision.dino.blocks.0.attn.qkv", "projector.2", "layer_0" (the language
  /// model's layers are chosen whole). What is not included, or is excluded, stays in floats.
  std::vector<std::string> include, exclude;
  int64_t group = 128;           ///< inputs that share a 4-bit scale, where it divides
  std::optional<Policy> policy;  ///< for what statistics alone decide; default_policy()
  QuantizeOptions language;      ///< llm's rotation and scales; format and group are ours

  const LayerFormat& of_bucket(const std::string& bucket) const {
    const auto own = buckets.find(bucket);
    return own == buckets.end() ? format : own->second;
  }
  Json to_json() const;
};

/// A low-bit model as it is stored: everything a folder will hold.
struct LowBitCobra {
  CobraDescription description;  ///< with its ranges; `path` is that of the float model
  std::vector<std::vector<NamedTensor>> towers;  ///< vision/T/model.safetensors
  std::vector<NamedTensor> projector;            ///< projector/model.safetensors
  ModelDescription float_language;      ///< what llm was made from, and is where it stays in floats
  std::optional<LowBitModel> language;  ///< llm; nothing: floats
  Plan plan;                            ///< of the buckets and sites used
  std::optional<StatisticsSet> statistics;
  Json recipe;
  std::vector<std::string> remarks;  ///< what the user should know, one sentence each
  int64_t bytes_bf16 = 0;            ///< of the same tensors in bf16
};

/// The towers' and the projector's matrices in the formats of their buckets: 8-bit weights have a
/// scale an output, 4-bit ones a scale a group (a second one an output beside 8-bit inputs). Where
/// an 8-bit input has no range, neither in `plan` nor in `statistics` (may be null), weights alone
/// are rounded and a remark says so. The buckets' ranges clip. The language model stays in floats,
/// with a remark, where 8-bit activations are asked for only by `format` and nothing is known of
/// its sites. Error naming site, bucket or option on everything that does not fit together: as
/// quantize(), and a range of zero width. The result does not depend on `threads`, among which
/// matrices are shared out (0: all processors).
LowBitCobra quantize_cobra(const CobraDescription& model, const Plan& plan,
                           const StatisticsSet* statistics, const CobraQuantizeOptions& options,
                           int threads = 1, const QuantizeProgress& progress = {},
                           const QuantizeMemory& memory = {});

/// The model that these tensors are.
CobraModel build_cobra(const LowBitCobra& model, const Execution& execution,
                       CobraModel::Parts parts = CobraModel::Parts::all);

}  // namespace scute
